# Whole hosts and fleets from the host.toml that the command reads.
{ self, nixpkgs }:
let
  inherit (nixpkgs) lib;
in
rec {
  # host.toml as settings, laid over what it imports: tables merge, of all else the file's is taken, then the later import's.
  readHost = file:
    let
      written = builtins.fromTOML (builtins.readFile file);
      imported = map (name: builtins.fromTOML (builtins.readFile (dirOf file + "/${name}"))) (written.imports or [ ]);
    in
    lib.foldl' lib.recursiveUpdate { } (imported ++ [ (removeAttrs written [ "imports" ]) ]);

  # { system, host = ./gateway.toml or { role = ...; }, modules ? [ ] } -> a system of NixOS
  mkHost = { system, host, modules ? [ ] }:
    let written = !lib.isAttrs host;
    in lib.nixosSystem {
      inherit system;
      modules = [
        self.nixosModules.mailstack
        {
          _file = if written then toString host else "<host>";
          services.mailstack = { enable = true; settings = if written then readHost host else host; };
        }
      ] ++ modules;
    };

  # { system, hosts = { gw = ./gateway.toml; ... }, modules ? [ ] } -> { gw = system; ... }; a host is called as in `hosts`.
  mkFleet = { system, hosts, modules ? [ ] }:
    lib.mapAttrs (name: host: mkHost { inherit system host; modules = [{ networking.hostName = name; }] ++ modules; }) hosts;
}
