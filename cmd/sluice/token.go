package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

type tokenCmd struct {
	adminFlag
	keyFlags
	JSON  bool   `name:"json" help:"Print one object: otp, limit, online."`
	User  string `help:"Whose token. May be left out with serve --dev." placeholder:"ID"`
	Quiet bool   `short:"q" help:"Print the token alone."`
}

// An issuedToken is a one-time token, with how many connections its user may have and has.
type issuedToken struct {
	OTP    string `json:"otp"`
	Limit  int    `json:"limit"`
	Online int    `json:"online"`
}

// Run asks the gateway for a one-time token and prints it.
func (cmd *tokenCmd) Run(stdout io.Writer) error {
	if cmd.Quiet && cmd.JSON {
		return usageError{errors.New("token: --quiet and --json: choose one")}
	}
	key, err := cmd.key()
	if err != nil {
		return usageError{err}
	}
	query := url.Values{}
	if cmd.User != "" {
		query.Set("user", cmd.User)
	}
	status, body, err := cmd.ask("/v2/socket/token", query, key)
	if err != nil {
		return fmt.Errorf("token: %w", err)
	}
	var answer struct {
		Code    *int        `json:"code"`
		Message string      `json:"message"`
		Data    issuedToken `json:"data"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case err != nil || answer.Code == nil:
		return fmt.Errorf("token: %s answers with HTTP status %d: is that a gateway's admin listener?", cmd.Admin, status)
	case *answer.Code == http.StatusUnauthorized:
		return fmt.Errorf("token: the gateway says %d: %s; --api-key-file or SLUICE_API_KEY_FILE names the file of the key, --admin-token-file that of an operator's token", *answer.Code, answer.Message)
	case *answer.Code != 0 || answer.Data.OTP == "":
		return fmt.Errorf("token: the gateway says %d: %s", *answer.Code, answer.Message)
	}
	if cmd.JSON {
		b, err := json.Marshal(answer.Data)
		if err != nil {
			return err
		}
		return printJSON(stdout, b)
	}
	if cmd.Quiet {
		_, err = fmt.Fprintln(stdout, answer.Data.OTP)
		return err
	}
	_, err = fmt.Fprintf(stdout, "token   %s\nonline  %d of %d\n", answer.Data.OTP, answer.Data.Online, answer.Data.Limit)
	return err
}
