"""The A2A server beside a bare web server, and beside other A2A servers."""
