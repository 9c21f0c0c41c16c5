# JSON Schema (draft-07, inlined, closed) -> options of NixOS, and what is wrong with a value. Pure: nothing is built.
#
# The types come from the schema that the program exports, so they cannot drift from it. The module system tells a value
# of the wrong type; `faults` tells what it cannot: keys that no schema has, roles, what is missing.
{ lib }:
let
  t = lib.types;

  # Unions of objects that a constant tells apart: the roles.
  tagsOf = branch:
    lib.filter (name: lib.isString (branch.properties.${name}.const or null)) (lib.attrNames (branch.properties or { }));
  isTagged = schema: schema ? oneOf && lib.all (branch: tagsOf branch != [ ]) schema.oneOf;
  tagOf = schema: lib.head (tagsOf (lib.head schema.oneOf));
  valuesOf = schema: map (branch: branch.properties.${tagOf schema}.const) schema.oneOf;
  branchOf = schema: value: lib.findFirst (branch: branch.properties.${tagOf schema}.const == value) null schema.oneOf;

  # Unions of values: a text or a list, a size in two spellings.
  partsOf = schema: schema.anyOf or schema.oneOf or [ ];

  typeOf = schema:
    if isTagged schema then tagged schema
    else if schema ? const then t.enum [ schema.const ]
    else if schema ? enum then t.enum schema.enum
    else if !(schema ? type) && partsOf schema != [ ] then union (partsOf schema)
    else {
      string = if schema ? pattern then t.strMatching schema.pattern else t.str;
      boolean = t.bool;
      number = t.float;
      integer = if schema ? minimum && schema ? maximum then t.ints.between schema.minimum schema.maximum else t.int;
      array = t.listOf (typeOf (schema.items or { type = "any"; }));
      object = if schema ? properties then table schema else t.attrsOf (typeOf schema.additionalProperties);
      any = t.anything;
    }.${schema.type or "any"};

  union = parts:
    if lib.all (part: part ? const) parts then t.enum (map (part: part.const) parts)
    else lib.foldl' (type: part: t.either type (typeOf part)) (typeOf (lib.head parts)) (lib.tail parts);

  # Open to the module system, closed by `faults`, which knows what was meant.
  table = schema: t.submodule { freeformType = t.attrsOf t.anything; options = optionsOf schema; };

  # The role decides which keys there are, so it is looked at first.
  tagged = schema:
    let
      tag = tagOf schema;
      probe = t.submodule {
        freeformType = t.lazyAttrsOf t.anything;
        options.${tag} = lib.mkOption { type = t.nullOr t.str; default = null; };
      };
      all = table {
        properties = lib.foldl' (all: branch: all // branch.properties) { } schema.oneOf // {
          ${tag} = { enum = valuesOf schema; description = "Which of the forms this is: decides which keys there are."; };
        };
      };
    in
    lib.mkOptionType {
      name = "taggedUnion";
      description = "declaration, by ${tag}: ${lib.concatStringsSep ", " (valuesOf schema)}";
      check = lib.isAttrs;
      merge = place: definitions:
        let branch = branchOf schema (probe.merge place definitions).${tag};
        in (if branch == null then probe else table branch).merge place definitions;
      getSubOptions = all.getSubOptions;
      getSubModules = null;
    };

  optionsOf = schema: lib.mapAttrs (optionOf (schema.required or [ ])) schema.properties;

  # A key that is left out is null, and not written. The version of the language is the one there is.
  optionOf = required: name: schema:
    let fixed = schema ? const && lib.elem name required;
    in lib.mkOption ({
      type = if fixed then typeOf schema else t.nullOr (typeOf schema);
      default = if fixed && !lib.isString schema.const then schema.const else null;
      description = schema.description or "Which of the forms this is.";
    } // lib.optionalAttrs (lib.isString (schema.const or null)) { type = t.nullOr t.str; }
      // lib.optionalAttrs (schema.examples or [ ] != [ ]) { example = lib.head schema.examples; });

  # --- what is wrong ---

  nearest = word: words:
    let
      near = lib.filter (other: lib.strings.levenshtein word other <= 1 + lib.stringLength word / 4) words;
      better = one: other: lib.strings.levenshtein word one < lib.strings.levenshtein word other;
    in
    lib.head (lib.sort better near ++ [ null ]);
  hint = word: words:
    let found = nearest word words;
    in if found != null then "did you mean `${found}`?" else "there are: ${lib.concatStringsSep ", " words}";

  # What is wrong with a merged value, all of it: one line each.
  faults = schema: faultsAt schema "" "";
  faultsAt = schema: at: where: value:
    if isTagged schema then taggedFaults schema at value
    else if lib.isAttrs value && schema ? properties then tableFaults schema at where value
    else if lib.isAttrs value && lib.isAttrs (schema.additionalProperties or false) then
      lib.concatLists (lib.mapAttrsToList (name: faultsAt schema.additionalProperties "${at}.${name}" where) value)
    else if lib.isList value && schema ? items then
      lib.optional (lib.length value < schema.minItems or 0) "${at}: must not be empty"
      ++ lib.concatLists (lib.imap0 (n: faultsAt schema.items "${at}[${toString n}]" where) value)
    else if partsOf schema != [ ] && (lib.isAttrs value || lib.isList value) then
      # Those of the part that is meant: the one with the fewest.
      let told = map (part: faultsAt part at where value) (lib.filter (fits value) (partsOf schema)); in
      lib.concatLists (lib.take 1 (lib.sort (one: other: lib.length one < lib.length other) told))
    else [ ];
  fits = value: part:
    (part.type or "") == (if lib.isList value then "array" else "object");

  taggedFaults = schema: at: value:
    let
      tag = tagOf schema;
      given = value.${tag} or null;
      branch = branchOf schema given;
    in
    if given == null then [ "${at}.${tag}: required; one of ${lib.concatStringsSep ", " (valuesOf schema)}" ]
    else if branch == null then [ "${at}.${tag}: `${given}` is none; ${hint given (valuesOf schema)}" ]
    else
      let
        # A key that other branches have is no typo.
        elsewhere = name: lib.filter (other: (branchOf schema other).properties ? ${name}) (valuesOf schema);
        misplaced = lib.filter (name: value.${name} != null && !(branch.properties ? ${name}) && elsewhere name != [ ])
          (lib.attrNames value);
      in
      map (name: "${at}.${name}: ${tag} `${given}` has no such key; it is one of ${lib.concatStringsSep ", " (elsewhere name)}")
        misplaced
      ++ tableFaults branch at " in ${tag} `${given}`" (removeAttrs value misplaced);

  tableFaults = schema: at: where: value:
    let
      known = lib.attrNames schema.properties;
      given = lib.filter (name: value.${name} != null) (lib.attrNames value);
      choice = map (branch: lib.head branch.required) (lib.filter (branch: branch ? required) (schema.oneOf or [ ]));
      chosen = lib.filter (name: lib.elem name given) choice;
    in
    map (name: "${at}.${name}: no such key${where}; ${hint name known}") (lib.filter (name: !lib.elem name known) given)
    ++ map (name: "${at}.${name}: required${where}")
      (lib.filter (name: !lib.elem name given) (schema.required or [ ]))
    ++ lib.optional (choice != [ ] && lib.length chosen != 1) "${at}: exactly one of ${lib.concatStringsSep ", " choice}"
    ++ lib.concatMap (name: faultsAt schema.properties.${name} "${at}.${name}" where value.${name})
      (lib.filter (name: lib.elem name known) given);

  # A value without what is null: as it is written.
  written = value:
    if lib.isAttrs value then lib.mapAttrs (_: written) (lib.filterAttrs (_: inner: inner != null) value)
    else if lib.isList value then map written value
    else value;
in
{
  inherit typeOf faults written branchOf;

  # An option whose value is what the schema says.
  settingsOption = schema: lib.mkOption {
    type = typeOf schema;
    default = { };
    description = schema.description or "";
  };
}
