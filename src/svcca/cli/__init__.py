"""The command `svcca`: one file a command."""
