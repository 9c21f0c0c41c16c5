# A small module system: options, definitions with conditions and priorities, submodules.
lib:
let
  inherit (lib) all any attrNames concatLists concatMap concatStringsSep elem filter head imap0 isAttrs isFunction isList
    map mapAttrs optional unique;

  # --- properties of definitions ---

  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  typed = type: value: isAttrs value && value._type or "" == type;

  # A set of definitions with its properties moved to each of them, so that a condition can look at other options.
  pushed = value:
    if typed "merge" value then concatMap pushed value.contents
    else if typed "if" value then map (mapAttrs (_: mkIf value.condition)) (pushed value.content)
    else if typed "override" value then map (mapAttrs (_: mkOverride value.priority)) (pushed value.content)
    else [ value ];
  # The values of a definition, each with its priority.
  discharged = priority: value:
    if typed "merge" value then concatMap (discharged priority) value.contents
    else if typed "if" value then if value.condition then discharged priority value.content else [ ]
    else if typed "override" value then discharged value.priority value.content
    else [{ inherit priority value; }];

  show = place: concatStringsSep "." place;
  shown = definitions: concatStringsSep ""
    (map (d: "\n- In `${toString d.file}': ${builtins.toJSON d.value}") definitions);

  # The value of an option from its definitions.
  evaluated = place: option: definitions:
    let
      found = concatMap (d: map (v: v // { inherit (d) file; }) (discharged 100 d.value)) definitions
        ++ optional (option ? default) { priority = 1500; value = option.default; file = "<default>"; };
      best = lib.foldl' (best: d: if d.priority < best then d.priority else best) 9999 found;
      # As nixpkgs has it: what is defaulted counts where nothing else is said.
      used = filter (d: d.priority == best) found;
      wrong = filter (d: !option.type.check d.value) used;
    in
    if used == [ ] then throw "The option `${show place}' was accessed but has no value defined. Try setting the option."
    else if wrong != [ ] then
      throw "A definition for option `${show place}' is not of type `${option.type.description}'. Definition values:${shown wrong}"
    else option.type.merge place used;

  valuesAt = name: sets:
    concatMap (d: map (set: { inherit (d) file; value = set.${name}; }) (filter (set: set ? ${name}) (pushed d.value))) sets;
  namesIn = sets: unique (concatMap (d: concatMap attrNames (pushed d.value)) sets);

  # --- types ---

  equal = place: definitions:
    let first = head definitions; in
    if all (d: d.value == first.value) definitions then first.value
    else throw "The option `${show place}' has conflicting definition values:${shown definitions}";
  mkOptionType = { name, description ? name, check ? _: true, merge ? equal, getSubOptions ? _: { }, ... }@type:
    type // { _type = "option-type"; inherit name description check merge getSubOptions; };
  simple = name: description: check: mkOptionType { inherit name description check; };
  each = place: type: value: file: evaluated place { inherit type; } [{ inherit value file; }];
  # As nixpkgs: a name all of whose definitions are conditions that do not hold is not there.
  holds = d: discharged 100 d.value != [ ];
  tables = type: place: definitions: lib.listToAttrs (map
    (name: { inherit name; value = evaluated (place ++ [ name ]) { inherit type; } (valuesAt name definitions); })
    (filter (name: any holds (valuesAt name definitions)) (namesIn definitions)));

  types = rec {
    bool = simple "bool" "boolean" builtins.isBool;
    str = simple "str" "string" builtins.isString;
    int = simple "int" "signed integer" builtins.isInt;
    float = simple "float" "floating point number" builtins.isFloat;
    lines = mkOptionType {
      name = "lines";
      check = builtins.isString;
      merge = _: definitions: concatStringsSep "\n" (map (d: d.value) definitions);
    };
    package = simple "package" "package" (value: isAttrs value && value.type or "" == "derivation");
    raw = mkOptionType { name = "raw"; merge = _: definitions: (head definitions).value; };
    anything = mkOptionType {
      name = "anything";
      merge = place: definitions:
        let values = map (d: d.value) definitions; in
        if all isAttrs values && !any (value: value ? type) values then tables anything place definitions
        else if all isList values then concatLists values
        else equal place definitions;
    };
    ints.between = least: most: simple "intBetween"
      "integer between ${toString least} and ${toString most} (both inclusive)"
      (value: builtins.isInt value && least <= value && value <= most);
    strMatching = pattern: simple "strMatching" "string matching the pattern ${pattern}"
      (value: builtins.isString value && builtins.match pattern value != null);
    enum = values: simple "enum" "one of ${concatStringsSep ", " (map builtins.toJSON values)}" (value: elem value values);
    nullOr = type: mkOptionType {
      name = "nullOr";
      description = "null or ${type.description}";
      check = value: value == null || type.check value;
      merge = place: definitions:
        if all (d: d.value == null) definitions then null
        else type.merge place definitions;
      inherit (type) getSubOptions;
    };
    either = one: other: mkOptionType {
      name = "either";
      description = "${one.description} or ${other.description}";
      check = value: one.check value || other.check value;
      merge = place: definitions:
        (if all (d: one.check d.value) definitions then one else other).merge place definitions;
    };
    listOf = type: mkOptionType {
      name = "listOf";
      description = "list of ${type.description}";
      check = isList;
      merge = place: definitions: concatLists
        (map (d: imap0 (n: value: each (place ++ [ "[${toString n}]" ]) type value d.file) d.value) definitions);
    };
    attrsOf = type: mkOptionType {
      name = "attrsOf";
      description = "attribute set of ${type.description}";
      check = isAttrs;
      merge = tables type;
    };
    # Which names are there does not depend on conditions.
    lazyAttrsOf = type: mkOptionType {
      name = "lazyAttrsOf";
      check = isAttrs;
      merge = place: definitions: lib.genAttrs (namesIn definitions)
        (name: evaluated (place ++ [ name ]) { inherit type; } (valuesAt name definitions));
    };
    submodule = module: mkOptionType {
      name = "submodule";
      description = "submodule";
      check = isAttrs;
      merge = place: definitions: (evalModules {
        prefix = place;
        modules = [ module ] ++ map (d: { _file = d.file; config = d.value; }) definitions;
      }).config;
      getSubOptions = prefix: (evalModules { inherit prefix; modules = [ module ]; }).options;
    };
  };

  # --- modules ---

  # As nixpkgs: where neither options nor config is named, all that is no word of the module system is configuration.
  words = [ "_file" "_module" "imports" "freeformType" ];
  normal = set: lib.optionalAttrs (set ? _module) { inherit (set) _module; }
    // (if set ? options || set ? config then set.config or { } else builtins.removeAttrs set words);

  evalModules = { modules, prefix ? [ ], specialArgs ? { } }:
    let
      # Arguments that a module hands to others.
      handed = lib.foldl' (all: m: all // m.config._module.args or { }) { } (filter (m: isAttrs m.config) loaded);
      call = module: module (mapAttrs
        (name: _: { inherit config options; lib = lib // self; }.${name} or specialArgs.${name} or handed.${name})
        (builtins.functionArgs module));
      load = module:
        let
          isFile = builtins.isPath module || builtins.isString module;
          plain = if isFile then import module else module;
          set = if isFunction plain then call plain else plain;
        in
        [{
          file = set._file or (if isFile then module else "<module>");
          options = set.options or { };
          config = normal set;
          freeformType = set.freeformType or null;
        }] ++ concatMap load (set.imports or [ ]);
      loaded = concatMap load modules;
      free = (lib.findFirst (m: m.freeformType != null) { freeformType = null; } loaded).freeformType;

      merged = one: other: one // mapAttrs
        (name: value: if one ? ${name} && !typed "option" value then merged one.${name} value else value)
        other;
      options = lib.foldl' merged { } (map (m: m.options) loaded);

      definitions = concatMap
        (m: map (set: { inherit (m) file; value = builtins.removeAttrs set [ "_module" ]; }) (pushed m.config))
        loaded;
      config = tree prefix options definitions;
      tree = place: level: sets:
        let
          unknown = filter (name: !(level ? ${name})) (namesIn sets);
          only = set: builtins.intersectAttrs (lib.genAttrs unknown (_: null)) set;
          value = name: option:
            let at = place ++ [ name ]; here = valuesAt name sets; in
            if typed "option" option then evaluated at option here else tree at option here;
          others = concatMap (d: map (set: { inherit (d) file; value = only set; }) (pushed d.value)) sets;
        in
        if unknown == [ ] then mapAttrs value level
        else if free != null then free.merge place others // mapAttrs value level
        else throw "The option `${show (place ++ [ (head unknown) ])}' does not exist.";
    in
    { inherit config options; };

  self = {
    inherit evalModules mkIf mkMerge mkOverride mkOptionType types;
    mkDefault = mkOverride 1000;
    mkForce = mkOverride 50;
    mkOption = option: option // { _type = "option"; };
    mkEnableOption = what: self.mkOption { type = types.bool; default = false; description = "Whether to enable ${what}."; };
    literalExpression = text: { _type = "literalExpression"; inherit text; };
  };
in
self
