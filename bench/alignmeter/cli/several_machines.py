"""Started on several machines at once, a command measures on the first; the others serve it."""

__all__ = ["serves_another"]

from alignmeter.accelerators.machines import this_machine
from alignmeter.streams import tell


def serves_another() -> bool:
    """Whether this machine is not the first of several; then it has served that one to its end.

    Raises `InputError` where the first one is not there, or went without a word.
    """
    machine = this_machine()
    if machine.number == 0:
        return False
    from alignmeter.cli.ending import end_on_sigterm
    from alignmeter.session.node_server import serve_node

    end_on_sigterm()
    tell(f"Machine {machine.number + 1} of {machine.count}: has ranks for {machine.address}.")
    serve_node()
    return True
