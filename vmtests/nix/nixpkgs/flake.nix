{
  description = "A stand-in for nixpkgs, our own: what flake.nix and the module ask of it, evaluated and never built";

  outputs = { self }: import ./default.nix { };
}
