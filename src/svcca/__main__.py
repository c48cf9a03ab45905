"""Run the command as a module, e.g. under torchrun: python -m svcca compare a.npz b.npz."""

from svcca.cli.app import main

if __name__ == "__main__":
    main()
