# What the tests ask of the flake, without a store: nix-instantiate --store dummy:// --eval --strict --json eval.nix
#
# `modules` is a file with a list of modules, beside the settings that `declaration`, a file, has.
{ declaration ? null, modules ? null, lib ? null }:
let
  nixpkgs = import ./nixpkgs (if lib == null then { } else { lib = import lib; });
  flake = import ../../flake.nix;
  self = flake.outputs { inherit self nixpkgs; };
  disk = { boot.loader.grub.enable = false; fileSystems."/" = { device = "none"; fsType = "tmpfs"; }; };
  system = self.lib.mkHost {
    system = "x86_64-linux";
    host = if declaration == null then { } else /. + declaration;
    modules = [ disk ] ++ (if modules == null then [ ] else import (/. + modules));
  };
  inherit (system) config;
  unsafe = builtins.unsafeDiscardStringContext;
in
{
  # What is wrong, in the words of the module.
  faults = map (one: one.message) (builtins.filter (one: !one.assertion) config.assertions);
  toml = config.services.mailstack.declaration;
  toplevel = unsafe config.system.build.toplevel.drvPath;
  host = {
    wrapper = config.services.mail.sendmailSetuidWrapper;
    ports = config.networking.firewall.allowedTCPPorts;
    rules = map unsafe config.systemd.tmpfiles.rules;
    service = removeAttrs config.systemd.services.mailstack [ "restartTriggers" ];
    socket = config.systemd.sockets.mailstack;
    inherit (config.systemd) timers;
    user = config.users.users.mailstack;
    generation = unsafe config.services.mailstack.generation.buildCommand;
    units = unsafe (builtins.head config.systemd.packages).buildCommand;
  };
  # Each example of each key fits the type that was made of its schema.
  examples =
    let
      types = import ../../schema/nix/types.nix { lib = nixpkgs.lib; };
      schema = builtins.fromJSON (builtins.readFile ../../schema/host.schema.json);
      within = at: properties: builtins.concatLists (nixpkgs.lib.mapAttrsToList
        (name: property:
          map (value: { key = "${at}.${name}"; fits = (types.typeOf property).check value; }) (property.examples or [ ])
          ++ within "${at}.${name}" (property.properties or { }))
        properties);
    in
    builtins.concatMap (branch: within branch.properties.role.const branch.properties) schema.oneOf;
  testScript = unsafe self.checks.x86_64-linux.vm-nullclient.testScript;
}
