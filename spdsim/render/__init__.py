"""What people look at: timelines, reports and pictures. The only place, with the command line, that uses rich."""
