"""How messages travel, behind one small interface: `local` within a process, `distributed` between ranks."""
