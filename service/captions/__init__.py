"""What the user sees: sessions, segments and the policy that settles words. Pure: no I/O, no clock."""
