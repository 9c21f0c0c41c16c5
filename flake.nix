{
  description = "mailstack: one typed TOML file per host, and a mail transfer agent that is proven before it goes live";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-25.11";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [ "x86_64-linux" "aarch64-linux" ];
      forAllSystems = make: lib.genAttrs systems (system:
        make (nixpkgs.legacyPackages.${system}.extend self.overlays.default));
      nix = ./engine/deploy/nix;
    in
    {
      overlays.default = final: _: {
        mailstack = final.callPackage (nix + "/package.nix") { };
        mailstack-vmtests = final.callPackage (nix + "/package.nix") { crate = "mailstack-vmtests"; };
      };

      packages = forAllSystems (pkgs: {
        default = pkgs.mailstack;
        inherit (pkgs) mailstack mailstack-vmtests;
        schema = pkgs.runCommand "mailstack-schema" { nativeBuildInputs = [ pkgs.mailstack ]; } ''
          mkdir "$out"
          for name in host topology nullclient msp loopback gateway; do
            mailstack schema "$name" >"$out/$name.schema.json"
          done
        '';
        options = (pkgs.nixosOptionsDoc {
          inherit (lib.evalModules {
            modules = [ (nix + "/options.nix") { _module.args = { inherit pkgs; }; } ];
          }) options;
        }).optionsCommonMark;
      });

      nixosModules = rec {
        mailstack = { pkgs, lib, ... }: {
          imports = [ ./engine/deploy/nix/module.nix ];
          services.mailstack.package = lib.mkDefault self.packages.${pkgs.stdenv.hostPlatform.system}.mailstack;
        };
        default = mailstack;
      };

      lib = import (nix + "/lib.nix") { inherit self nixpkgs; };

      apps = forAllSystems (pkgs: rec {
        default = mailstack;
        mailstack = { type = "app"; program = lib.getExe pkgs.mailstack; };
        vmtests = { type = "app"; program = lib.getExe pkgs.mailstack-vmtests; };
      });

      devShells = forAllSystems (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ pkgs.mailstack ];
          packages = [ pkgs.cargo pkgs.clippy pkgs.rustfmt pkgs.m4 ];
        };
      });

      formatter = forAllSystems (pkgs: pkgs.nixpkgs-fmt);

      templates.default = {
        path = "${self}/engine/deploy/nix/template";
        description = "A fleet: one host.toml for each host";
      };

      checks = forAllSystems (pkgs: import (nix + "/checks.nix") { inherit self pkgs lib; });
    };
}
