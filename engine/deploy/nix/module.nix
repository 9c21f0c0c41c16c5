# services.mailstack: a generation built and checked with the system, units that come from it, and the built-in MTA.
#
# Here the system is the store of generations: switching and rolling back are nixos-rebuild's. `mailstack status`, `queue`
# and `sendmail` look through /var/lib/mailstack/current as everywhere; `apply`, `rollback` and `stop` refuse.
{ config, lib, pkgs, ... }:
let
  cfg = config.services.mailstack;
  types = import ../../../schema/nix/types.nix { inherit lib; };
  toTOML = import ../../../schema/nix/toml.nix { inherit lib; };
  schema = builtins.fromJSON (builtins.readFile ../../../schema/host.schema.json);

  settings = types.written cfg.settings;
  faults = types.faults schema cfg.settings;
  role = settings.role or "";
  branch = types.branchOf schema role;
  # A role that has listeners is an MTA; the others are started when there is something to do.
  receives = branch != null && branch.properties ? listen;
  profile = ../../../profiles + "/${role}.toml";
  defaults = if branch != null && builtins.pathExists profile then builtins.fromTOML (builtins.readFile profile) else { };
  mailboxes = defaults.mailboxes or { } // settings.mailboxes or { };

  # ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, or a table with one: the port, or null where nobody outside can reach it.
  portOf = listener: if lib.isAttrs listener then portOf listener.address else
    let
      parts = builtins.match "(\\[[^]]*]|[^:]*)(:([0-9]+))?" listener;
      address = lib.head parts;
      port = lib.elemAt parts 2;
      isLoopback = lib.hasPrefix "127." address || address == "[::1]" || listener == "::1";
    in
    if isLoopback then null
    # An IPv6 address without brackets has no port.
    else if parts == null || port == null then 25
    else lib.toInt port;
  listeners = if receives then settings.listen or defaults.listen or [ ] else [ ];
  ports = lib.unique (lib.filter (port: port != null) (map portOf listeners));

  generation = pkgs.runCommand "mailstack-generation"
    { nativeBuildInputs = [ cfg.package ]; declaration = cfg.declaration; passAsFile = [ "declaration" ]; } ''
    cp "$declarationPath" host.toml
    mailstack check host.toml
    mailstack build host.toml --output generation
    cp -r generation "$out"
  '';
  # The generation's own units, with the program and the configuration where they lie here.
  units = pkgs.runCommand "mailstack-units" { program = lib.getExe cfg.package; inherit generation; } ''
    mkdir -p "$out/lib/systemd/system" "$out/lib/tmpfiles.d"
    for unit in "$generation"/etc/systemd/system/*; do
      sed -e "s|/usr/bin/mailstack run|$program run --config $generation/etc/mailstack/mta.toml|" \
        -e "s|/usr/bin/mailstack|$program|" "$unit" >"$out/lib/systemd/system/''${unit##*/}"
    done
    if grep -r /usr/bin/ "$out"; then exit 1; fi
    cp "$generation"/etc/tmpfiles.d/*.conf "$out/lib/tmpfiles.d"
  '';
  programs = pkgs.runCommand "mailstack-programs" { program = lib.getExe cfg.package; } ''
    mkdir -p "$out/bin"
    for name in sendmail mailq newaliases; do ln -s "$program" "$out/bin/$name"; done
  '';

  others = lib.filter (name: config.services.${name}.enable or false) [ "postfix" "opensmtpd" "exim" "nullmailer" ];
  # Texts of the settings that are paths of the store; a certificate may be one.
  storePaths = at: value:
    if lib.isAttrs value then lib.concatLists (lib.mapAttrsToList (name: storePaths "${at}.${name}") value)
    else if lib.isList value then lib.concatMap (storePaths at) value
    else lib.optional (lib.isString value && lib.hasPrefix builtins.storeDir value && builtins.match ".*[._](cert|ca)[a-z_]*" at == null) at;
  inStore = lib.filter (name: lib.hasPrefix builtins.storeDir cfg.credentials.${name}) (lib.attrNames cfg.credentials);
in
{
  imports = [ ./options.nix ];

  config = lib.mkIf cfg.enable {
    assertions = map (fault: { assertion = false; message = "services.mailstack.settings${fault}"; }) faults
      ++ lib.optional (settings ? imports) {
        assertion = false;
        message = "services.mailstack.settings.imports: names files beside a host.toml; `lib.readHost` reads them with it, and "
          + "what hosts share in Nix is a module.";
      }
      ++ map
      (name: {
        # A submission-only host leaves the MTA beside it alone.
        assertion = role == "msp" && !cfg.setSendmail;
        message = "services.mailstack and services.${name} are both enabled: one host runs one MTA. Only the role `msp` may "
          + "stand beside another, and with setSendmail = false.";
      })
      others
      ++ map
      (name: {
        assertion = false;
        message = "services.mailstack.credentials.${name} lies in the store, which everybody can read: name a file outside.";
      })
      inStore
      ++ map
      (at: {
        assertion = false;
        message = "services.mailstack.settings${at} lies in the store, which everybody can read: name a file outside.";
      })
      (storePaths "" settings);

    services.mailstack = {
      declaration = toTOML settings;
      inherit generation;
    };

    # A fixed user, for the queue needs an owner that stays.
    users.users.mailstack = {
      isSystemUser = true;
      group = "mailstack";
      description = "mailstack mail transfer agent";
      home = "/var/spool/mailstack";
    };
    users.groups.mailstack = { };

    environment.systemPackages = [ cfg.package ] ++ lib.optional cfg.setSendmail programs;
    # Where programs of NixOS look for sendmail. The wrapper is NixOS's; it gains nothing.
    services.mail.sendmailSetuidWrapper = lib.mkIf cfg.setSendmail {
      program = "sendmail";
      source = "${programs}/bin/sendmail";
      owner = "root";
      group = "root";
      setuid = false;
      setgid = false;
      permissions = "u+rx,g+rx,o+rx";
    };

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.openFirewall ports;

    systemd.packages = [ units ];
    systemd.tmpfiles.packages = [ units ];
    systemd.tmpfiles.rules = [ "d /var/lib/mailstack 0755 root root -" "L+ /var/lib/mailstack/current - - - - ${generation}" ]
      ++ lib.optional (receives && mailboxes.format or "" == "mbox") "d ${mailboxes.path} 2775 root mail -";
    systemd.services.mailstack = {
      wantedBy = lib.optional receives "multi-user.target";
      restartTriggers = [ units ];
      serviceConfig = lib.mkIf (cfg.credentials != { }) {
        LoadCredential = lib.mapAttrsToList (name: file: "${name}:${file}") cfg.credentials;
      };
    };
    systemd.sockets.mailstack.wantedBy = [ "sockets.target" ];
    systemd.timers.mailstack-queue = lib.mkIf (!receives) { wantedBy = [ "timers.target" ]; };
  };
}
