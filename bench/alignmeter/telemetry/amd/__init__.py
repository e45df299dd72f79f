"""AMD's devices, through AMD SMI."""
