"""The file worker: SFTP served by a process of the account that was asked for. The standard library and `protocol`."""
