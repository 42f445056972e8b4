package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
)

// maxTokenFile is how much of Config.TokenFile is read, in bytes.
const maxTokenFile = 128 << 10

// token returns what links show, empty if nothing.
func (c *Config) token() (string, error) {
	if c.TokenFile == "" {
		return c.Token, nil
	}
	f, err := os.Open(c.TokenFile)
	if err != nil {
		return "", c.tokenFileError(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	if err != nil {
		return "", c.tokenFileError(err)
	}
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line, nil
		}
	}
	return "", c.tokenFileError(fmt.Errorf("%s: there is no token in it", c.TokenFile))
}

// tokenFileError says what is wrong with TokenFile, without its name if that is no path: it may be the
// token itself.
func (c *Config) tokenFileError(err error) error {
	if where, ok := errors.AsType[*fs.PathError](err); ok && !strings.ContainsRune(c.TokenFile, filepath.Separator) {
		return fmt.Errorf("Config.TokenFile: the file that is named cannot be read: %w (without a / in it, the name is not shown: it may be the token)", where.Err)
	}
	return fmt.Errorf("Config.TokenFile: %w", err)
}

// prove shows the token, if there is one, by a registration of no worker, which also asks for the scope
// of the cluster. A gateway that knows nothing of these says that 0 is no worker id, and serves the
// link.
func (l *Link) prove(ctx context.Context, c *conn) error {
	token, err := l.worker.config.token()
	wide := l.worker.wide()
	if err != nil || token == "" && (!wide || l.registers()) {
		return err
	}
	var resp netsvrpb.RegisterResp
	err = c.ask(ctx, netsvr.CmdRegister, &netsvrpb.RegisterReq{Token: token, ClusterScope: wide}, &resp)
	if err != nil {
		return fmt.Errorf("show the token, or ask for the cluster: %w", err)
	}
	switch resp.GetCode() {
	case netsvrpb.RegisterResp_TokenMissing, netsvrpb.RegisterResp_TokenWrong:
		return registerError(&resp)
	}
	return l.worker.inCluster(&resp)
}
