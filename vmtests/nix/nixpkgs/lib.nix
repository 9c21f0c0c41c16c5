# The functions of nixpkgs' lib that are asked for here, and its module system as far as they are.
let
  lists = rec {
    inherit (builtins) all any attrNames attrValues concatLists concatMap concatStringsSep elem elemAt filter foldl' head
      intersectAttrs isAttrs isBool isFunction isInt isList isString length listToAttrs map mapAttrs removeAttrs sort
      stringLength tail functionArgs readFile;
    concatStrings = concatStringsSep "";
    concatMapStrings = f: list: concatStrings (map f list);
    mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
    filterAttrs = f: set: removeAttrs set (filter (name: !(f name set.${name})) (attrNames set));
    genAttrs = names: f: listToAttrs (map (name: { inherit name; value = f name; }) names);
    optional = yes: value: if yes then [ value ] else [ ];
    optionalString = yes: text: if yes then text else "";
    optionalAttrs = yes: set: if yes then set else { };
    imap0 = f: list: builtins.genList (n: f n (elemAt list n)) (length list);
    recursiveUpdate = one: other: one // mapAttrs
      (name: value: if isAttrs value && isAttrs (one.${name} or null) then recursiveUpdate one.${name} value else value)
      other;
    take = count: list: builtins.genList (elemAt list) (min count (length list));
    unique = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];
    findFirst = f: other: list: let found = filter f list; in if found == [ ] then other else head found;
    last = list: elemAt list (length list - 1);
    hasPrefix = prefix: text: builtins.substring 0 (stringLength prefix) text == prefix;
    removePrefix = prefix: text:
      if hasPrefix prefix text then builtins.substring (stringLength prefix) (stringLength text) text else text;
    splitString = by: text: filter isString (builtins.split by text);
    toInt = builtins.fromJSON;
    getExe = package: "${package}/bin/${package.meta.mainProgram or package.pname or package.name}";
    platforms.linux = [ "x86_64-linux" "aarch64-linux" ];
    min = a: b: if a < b then a else b;
    strings.levenshtein = one: other:
      let
        letters = text: builtins.genList (n: builtins.substring n 1 text) (stringLength text);
        row = before: letter:
          foldl' (done: n: done ++ [
            (min (min (last done + 1) (elemAt before (n + 1) + 1))
              (elemAt before n + (if elemAt (letters other) n == letter then 0 else 1)))
          ]) [ (head before + 1) ] (builtins.genList (n: n) (stringLength other));
      in
      last (foldl' row (builtins.genList (n: n) (stringLength other + 1)) (letters one));
  };
in
lists // import ./modules.nix lists
