package unixsock

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
	"strings"
)

// ids reads an owner. -1 is nobody in particular.
func ids(owner string) (uid, gid int, err error) {
	name, group, _ := strings.Cut(owner, ":")
	if uid, err = id(name, func(s string) (string, error) {
		u, err := user.Lookup(s)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	}); err != nil {
		return 0, 0, fmt.Errorf("owner %q: %w", owner, err)
	}
	if gid, err = id(group, func(s string) (string, error) {
		g, err := user.LookupGroup(s)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	}); err != nil {
		return 0, 0, fmt.Errorf("owner %q: %w", owner, err)
	}
	return uid, gid, nil
}

func id(name string, look func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	number, err := look(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(number, 10, 31)
	return int(n), err
}

// ParseMode reads permissions in octal digits, as 660 or 0660.
func ParseMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n == 0 || n > uint64(fs.ModePerm) {
		return 0, fmt.Errorf("mode %q, want octal digits as 0660, 0001 to 0777", text)
	}
	return fs.FileMode(n), nil
}
