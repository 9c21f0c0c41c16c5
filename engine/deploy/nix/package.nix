# One program of the workspace. The tests that need no host run in the flake's checks.
{ lib, stdenv, rustPlatform, installShellFiles, crate ? "mailstack" }:
let
  root = ../../..;
  wanted = [ "Cargo.toml" "Cargo.lock" "engine" "profiles" "schema" "vmtests" "clippy.toml" "rustfmt.toml" ];
  top = toString root + "/";
in
rustPlatform.buildRustPackage {
  pname = crate;
  inherit ((builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"))).workspace.package) version;
  src = builtins.path {
    path = root;
    name = "mailstack-source";
    filter = path: _: lib.elem (lib.head (lib.splitString "/" (lib.removePrefix top path))) wanted;
  };
  cargoLock.lockFile = root + "/Cargo.lock";
  cargoBuildFlags = [ "--package" crate ];
  doCheck = false;
  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (crate == "mailstack" && stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    for page in mailstack.1 host.toml.5 topology.toml.5; do "$out/bin/mailstack" reference "$page" >"$page"; done
    installManPage mailstack.1 host.toml.5 topology.toml.5
    installShellCompletion --cmd mailstack --bash <("$out/bin/mailstack" reference bash) \
      --fish <("$out/bin/mailstack" reference fish) --zsh <("$out/bin/mailstack" reference zsh)
  '';
  meta = {
    description = "One typed TOML file per host, and a mail transfer agent that is proven before it goes live";
    mainProgram = crate;
    platforms = lib.platforms.linux;
  };
}
