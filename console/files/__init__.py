"""`auxilio cp`: files and folders between this machine and a device, over SFTP. The device is taken to be hostile."""
