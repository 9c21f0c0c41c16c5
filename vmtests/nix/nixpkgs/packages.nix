# Packages: derivations that are named and never built.
{ lib, nixosSystem }:
system:
let
  # Every attribute of the environment is forced, so that what it refers to exists.
  derive = attrs: lib.filterAttrs (_: value: builtins.isFunction value || lib.isAttrs value) attrs // derivation ({
    inherit system;
    builder = "/bin/sh";
  } // lib.filterAttrs (_: value: !(builtins.isFunction value || lib.isAttrs value)) attrs) // {
    meta = attrs.meta or { };
    overrideAttrs = change: derive (attrs // change attrs);
  } // lib.optionalAttrs (attrs ? pname) { inherit (attrs) pname; };
  named = name: derive { inherit name; };

  base = {
    inherit lib system;
    stdenv = {
      hostPlatform = { inherit system; };
      buildPlatform = { inherit system; canExecute = platform: platform.system == system; };
    };
    rustPlatform.buildRustPackage = attrs:
      assert builtins.pathExists attrs.cargoLock.lockFile;
      derive (removeAttrs attrs [ "cargoLock" ] // { name = "${attrs.pname}-${attrs.version}"; });
    runCommand = name: env: buildCommand: derive (env // { inherit name buildCommand; });
    writeText = name: text: derive { inherit name text; };
    mkShell = { inputsFrom ? [ ], packages ? [ ] }: derive { name = "shell"; inherit inputsFrom packages; };
    nixosOptionsDoc = { options }: {
      optionsCommonMark = derive { name = "options.md"; text = builtins.toJSON (lib.attrNames options.services.mailstack); };
    };
    testers.runNixOSTest = { name, nodes, testScript }: derive {
      name = "vm-test-run-${name}";
      inherit testScript;
      nodes = lib.mapAttrsToList
        (_: node: (nixosSystem { inherit system; modules = [ node ]; }).config.system.build.toplevel)
        nodes;
    };
  } // lib.genAttrs [ "installShellFiles" "rustfmt" "clippy" "cargo" "m4" "nixpkgs-fmt" "swaks" ] named;

  extended = before: overlay:
    let
      after = before // overlay after before // {
        callPackage = function: arguments:
          let made = if builtins.isFunction function then function else import function;
          in made (builtins.intersectAttrs (builtins.functionArgs made) after // arguments);
        extend = extended after;
      };
    in
    after;
in
extended base (_: _: { })
