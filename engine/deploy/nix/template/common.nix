# What all hosts have. Put your own disks and boot loader here.
{
  boot.loader.grub.enable = false;
  fileSystems."/" = { device = "/dev/disk/by-label/nixos"; fsType = "ext4"; };
  services.mailstack.openFirewall = true;
}
