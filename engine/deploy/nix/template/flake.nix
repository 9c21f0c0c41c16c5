{
  description = "A fleet of hosts whose mail is declared";

  # Where you have mailstack from.
  inputs.mailstack.url = "git+https://git.corp.example/mailstack";

  outputs = { self, mailstack }: {
    # nixos-rebuild switch --flake .#gw
    nixosConfigurations = mailstack.lib.mkFleet {
      system = "x86_64-linux";
      hosts = { gw = ./hosts/gw.toml; web01 = ./hosts/web01.toml; };
      modules = [ ./common.nix ];
    };
  };
}
