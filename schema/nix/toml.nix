# A value as the text of a TOML file: one line for each leaf, so that the program can point to it.
{ lib }:
let
  # A text as JSON writes it is a text of TOML.
  name = text: if builtins.match "[A-Za-z0-9_-]+" text != null then text else builtins.toJSON text;

  inline = value:
    if lib.isAttrs value then "{ ${lib.concatStringsSep ", " (lib.mapAttrsToList (key: inner: "${name key} = ${inline inner}") value)} }"
    else if lib.isList value then "[${lib.concatStringsSep ", " (map inline value)}]"
    else builtins.toJSON value;

  lines = path: value:
    lib.concatMap
      (key:
        let place = path ++ [ (name key) ]; inner = value.${key};
        in if lib.isAttrs inner && inner != { } then lines place inner
        else [ "${lib.concatStringsSep "." place} = ${inline inner}\n" ])
      (lib.attrNames value);
in
value: lib.concatStrings (lines [ ] value)
