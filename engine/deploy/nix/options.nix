# Options alone: the module and the option reference import them. Needs nothing of NixOS.
{ lib, pkgs, ... }:
let
  types = import ../../../schema/nix/types.nix { inherit lib; };
  schema = builtins.fromJSON (builtins.readFile ../../../schema/host.schema.json);
in
{
  options.services.mailstack = {
    enable = lib.mkEnableOption "mailstack, a mail transfer agent declared by a host's role";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.mailstack;
      defaultText = lib.literalExpression "pkgs.mailstack";
      description = "The mailstack that builds the generation and runs.";
    };

    settings = types.settingsOption schema // {
      description = "What the host is for: the keys of host.toml, which `lib.readHost` reads too.";
      example = lib.literalExpression ''
        { role = "nullclient"; mail_host = "mailhost.corp.example"; masquerade.domain = "corp.example"; }
      '';
    };

    credentials = lib.mkOption {
      # A text and no path: a path of Nix is copied into the store, which everybody can read.
      type = lib.types.attrsOf lib.types.str;
      default = { };
      example = { "relay-password" = "/run/keys/relay-password"; };
      description = ''
        Secrets by name, each with its file on the host. systemd hands them to the MTA (LoadCredential), which finds them
        in /run/credentials/mailstack.service/NAME. They never enter the store.
      '';
    };

    setSendmail = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = "Whether `sendmail`, `mailq` and `newaliases` are mailstack's: neither is setuid or setgid.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether the firewall lets in what the role listens on, but for loopback addresses.";
    };

    generation = lib.mkOption {
      type = lib.types.package;
      readOnly = true;
      description = "The generation that `mailstack build` makes of the settings, checked.";
    };

    declaration = lib.mkOption {
      type = lib.types.lines;
      readOnly = true;
      internal = true;
      description = "The settings as the text of host.toml.";
    };
  };
}
