#!/bin/sh
# protoc wants its plugin as a file; the version is the one go.mod names.
exec go tool protoc-gen-go "$@"
