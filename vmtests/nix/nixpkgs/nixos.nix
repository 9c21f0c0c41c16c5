# A system of NixOS: the options that the module defines, and the assertions that stop a build.
{ lib, packagesFor }:
{ system, modules }:
let
  inherit (lib) mkOption types;
  option = type: default: mkOption { inherit type default; };
  enable.enable = option types.bool false;
  anything = option (types.attrsOf types.anything) { };
  base = { config, ... }: {
    options = {
      assertions = option (types.listOf types.anything) [ ];
      system.build.toplevel = mkOption { type = types.package; };
      boot.loader.grub.enable = option types.bool true;
      fileSystems = anything;
      networking.hostName = option types.str "nixos";
      networking.firewall.allowedTCPPorts = option (types.listOf types.int) [ ];
      users.users = anything;
      users.groups = anything;
      environment.systemPackages = option (types.listOf types.package) [ ];
      services.mail.sendmailSetuidWrapper = option (types.nullOr types.anything) null;
      services.postfix = enable;
      services.opensmtpd = enable;
      services.exim = enable;
      services.nullmailer = enable;
      systemd.packages = option (types.listOf types.package) [ ];
      systemd.tmpfiles.packages = option (types.listOf types.package) [ ];
      systemd.tmpfiles.rules = option (types.listOf types.str) [ ];
      systemd.services = anything;
      systemd.sockets = anything;
      systemd.timers = anything;
    };
    config.system.build.toplevel =
      let
        failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
        all = builtins.toJSON {
          inherit (config) systemd users;
          packages = map toString config.environment.systemPackages;
          wrapper = config.services.mail.sendmailSetuidWrapper;
        };
      in
      if failed != [ ] then throw "Failed assertions:\n${lib.concatStringsSep "\n" (map (text: "- ${text}") failed)}"
      else (packagesFor system).writeText "nixos-system-${config.networking.hostName}" all;
  };
in
lib.evalModules { modules = [ base ] ++ modules; specialArgs.pkgs = packagesFor system; }
