# What `nix flake check` builds beside the packages.
{ self, pkgs, lib }:
let
  toTOML = import ../../../schema/nix/toml.nix { inherit lib; };
  inherit (pkgs.stdenv.hostPlatform) system;
  roles = [ "nullclient" "msp" "loopback" "gateway" ];
  starter = role: ../../../profiles/starter + "/${role}.toml";

  # Cargo in the sources of the workspace, in place of a build.
  cargo = name: command: packages: pkgs.mailstack.overrideAttrs (old: {
    pname = "mailstack-${name}";
    nativeBuildInputs = old.nativeBuildInputs ++ packages;
    buildPhase = command;
    installPhase = "touch $out";
    postInstall = "";
    doCheck = false;
  });
  disk = { boot.loader.grub.enable = false; fileSystems."/" = { device = "none"; fsType = "tmpfs"; }; };
in
{
  inherit (pkgs) mailstack mailstack-vmtests;
  format = cargo "format" "cargo fmt --all --check" [ pkgs.rustfmt ];
  clippy = cargo "clippy" "cargo clippy --workspace --all-targets --offline -- -D warnings" [ pkgs.clippy ];
  # The exported schema and the reference are what the types say; rendered examples are their golden files.
  golden = cargo "golden" ''
    cargo test --offline --package mailstack-schema --package mailstack-policy --package mailstack-smtp
    cargo test --offline --package mailstack-deploy --test it -- golden
  '' [ ];

  # What Nix evaluates is what the file says: both give one generation, by its digest.
  bridge = pkgs.runCommand "mailstack-bridge" { nativeBuildInputs = [ pkgs.mailstack ]; } (lib.concatMapStrings
    (role: ''
      mailstack build ${starter role} -o file-${role} >file
      mailstack build ${pkgs.writeText "${role}.toml" (toTOML (self.lib.readHost (starter role)))} -o nix-${role} >nix
      cmp file nix
    '')
    roles + "touch $out\n");

  # Each starter as a whole system: its assertions hold. Evaluated, and not built.
  systems = pkgs.writeText "mailstack-systems" (lib.concatMapStrings
    (role:
      let made = self.lib.mkHost { inherit system; host = starter role; modules = [ disk ]; };
      in builtins.unsafeDiscardStringContext "${role} ${made.config.system.build.toplevel.drvPath}\n")
    roles);
} // import ./vm.nix { inherit self pkgs lib; }
