"""How long tests wait for what must come: no test that passes waits this long, however busy the machine is."""

WAIT_S = 120
