# Virtual machines under NixOS's test driver: a null client, its mail host, and an outsider.
{ self, pkgs, lib }:
let
  host = settings: { ... }: {
    imports = [ self.nixosModules.mailstack ];
    services.mailstack = { enable = true; openFirewall = true; inherit settings; };
    users.users.alice = { isNormalUser = true; uid = 1000; };
  };
in
{
  vm-nullclient = pkgs.testers.runNixOSTest {
    name = "mailstack-nullclient";
    nodes = {
      client = host {
        role = "nullclient";
        hostname = "client.corp.example";
        mail_host = "[192.168.1.2]";
        masquerade.domain = "corp.example";
        queue.first_retry = "1s";
      };
      hub = host {
        role = "gateway";
        hostname = "hub.corp.example";
        local_domains = [ "corp.example" ];
        aliases = { root = "alice"; postmaster = "alice"; };
        relay.networks = [ "192.168.1.1/32" ];
      };
      outsider = { environment.systemPackages = [ pkgs.swaks ]; };
    };
    testScript = ''
      start_all()
      hub.wait_for_unit("mailstack.service")
      hub.wait_for_open_port(25)
      client.wait_for_unit("mailstack.socket")

      with subtest("a null client listens nowhere, and nothing of it is setuid or setgid"):
          client.fail("ss -Htln | grep -v '127.0.0.53\\|127.0.0.54'")
          for machine in (client, hub):
              machine.succeed("test ! -u /run/wrappers/bin/sendmail -a ! -g /run/wrappers/bin/sendmail")

      with subtest("the sender appears in the masqueraded domain, in envelope and header"):
          client.succeed("printf 'Subject: masq\\n\\nx\\n' | sendmail root@corp.example")
          hub.wait_until_succeeds("grep -q 'Subject: masq' /var/mail/alice")
          hub.succeed("grep -q '^Return-Path: <root@corp.example>' /var/mail/alice || grep -q '^From root@corp.example' /var/mail/alice")
          hub.succeed("grep -q '^From: .*root@corp.example' /var/mail/alice")
          hub.fail("grep -q 'root@client' /var/mail/alice")

      with subtest("a bounce returns to where somebody reads it"):
          client.succeed("printf 'Subject: lost\\n\\nx\\n' | sendmail nobody-here@corp.example")
          hub.wait_until_succeeds("grep -q '^From MAILER-DAEMON\\|^Return-Path: <>' /var/mail/alice")

      with subtest("the outsider may send to the domain, and relay nowhere"):
          outsider.wait_until_succeeds("swaks --server 192.168.1.2 --from a@far.example --to root@corp.example")
          outsider.fail("swaks --server 192.168.1.2 --from a@far.example --to b@other.example --quit-after RCPT")
          outsider.fail("swaks --server 192.168.1.2 --from root@corp.example --to b@other.example --quit-after RCPT")

      with subtest("what NixOS declares is not changed by the command"):
          status, said = hub.execute("mailstack stop 2>&1")
          assert status == 7 and "nixos-rebuild" in said, said
          hub.succeed("mailstack status")

      with subtest("the queue and what is declared outlive a reboot"):
          hub.shutdown()
          client.succeed("printf 'Subject: waited\\n\\nx\\n' | sendmail root@corp.example")
          client.shutdown()
          hub.start()
          hub.wait_for_open_port(25)
          client.start()
          hub.wait_until_succeeds("grep -q 'Subject: waited' /var/mail/alice")
    '';
  };
}
