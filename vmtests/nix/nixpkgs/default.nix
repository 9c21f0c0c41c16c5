# `lib` may be nixpkgs' own, where it is at hand: the module has to mean the same with both.
{ lib ? import ./lib.nix }:
let
  packagesFor = import ./packages.nix { inherit lib nixosSystem; };
  nixosSystem = import ./nixos.nix { inherit lib packagesFor; };
in
{
  lib = lib // { inherit nixosSystem; };
  legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] packagesFor;
}
