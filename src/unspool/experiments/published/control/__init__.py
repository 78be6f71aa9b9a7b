"""Linear policies that learn to move bodies in MuJoCo."""
