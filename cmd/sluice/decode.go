package main

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/nearest"
)

// removed reports whether the flag is one of an earlier version.
func (p *param) removed() bool { return p.flag.Target.Type() == reflect.TypeFor[removedFlag]() }

// elem is the type of one value.
func (p *param) elem() reflect.Type {
	if t := p.flag.Target.Type(); p.flag.IsSlice() {
		return t.Elem()
	} else {
		return t
	}
}

// try says why a text is no value of the setting, and what may have been meant.
func (p *param) try(text string) error {
	err := p.decode(reflect.New(p.elem()).Elem(), text)
	if err == nil || p.removed() {
		return err
	}
	for _, word := range p.guesses(text) {
		if word != text && p.decode(reflect.New(p.elem()).Elem(), word) == nil {
			return fmt.Errorf("%w; did you mean %q?", err, word)
		}
	}
	return err
}

// set makes what was given the value. It has been tried.
func (p *param) set(items []item) {
	target := p.flag.Target
	if !p.flag.IsSlice() {
		_ = p.decode(target, items[len(items)-1].text)
		return
	}
	if len(items) == 0 {
		target.SetZero()
		return
	}
	list := reflect.MakeSlice(target.Type(), len(items), len(items))
	for i, it := range items {
		_ = p.decode(list.Index(i), it.text)
	}
	target.Set(list)
}

// decode reads a text into a value of the setting's type.
func (p *param) decode(target reflect.Value, text string) error {
	if p.removed() {
		return errors.New("this flag was removed: " + p.flag.Help)
	}
	if u, ok := target.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch target.Interface().(type) {
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: want %s", text, durations)
		}
		target.SetInt(int64(d))
		return nil
	}
	switch target.Kind() {
	case reflect.Bool:
		b, ok := truths[strings.ToLower(text)]
		if !ok {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		target.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, target.Type().Bits())
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%s is further from 0 than any number that is taken here", text)
		}
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		target.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		target.SetFloat(n)
	case reflect.String:
		if words := p.words(); len(words) > 0 && !slices.Contains(words, text) {
			return fmt.Errorf("%q must be one of %s", text, strings.Join(words, ", "))
		}
		target.SetString(text)
	default:
		return fmt.Errorf("a %v cannot be given", target.Type())
	}
	return nil
}

var truths = map[string]bool{
	"true": true, "1": true, "yes": true, "on": true,
	"false": false, "0": false, "no": false, "off": false,
}

const (
	durations = "a duration such as 500ms, 10s or 20m"
	sizes     = "bytes, or a number with KiB, MiB or GiB"
)

// words are values that have a name, nil if there are none.
func (p *param) words() []string {
	if p.flag.Enum != "" {
		return p.flag.EnumSlice()
	}
	switch reflect.New(p.elem()).Elem().Interface().(type) {
	case memorySize:
		return []string{"auto", "off"}
	case autoLimit:
		return []string{"auto"}
	case logLevel:
		return []string{"debug", "info", "warn", "error"}
	}
	return nil
}

// form says what values look like.
func (p *param) form() string {
	switch v := reflect.New(p.elem()).Elem(); v.Interface().(type) {
	case byteSize:
		return sizes
	case time.Duration:
		return durations
	case memorySize:
		return "a size such as 512MiB, auto or off"
	case autoLimit:
		return "a number, or auto"
	case failureRate:
		return "N/DURATION, as 100/10s, or 0"
	default:
		switch words := p.words(); {
		case len(words) > 0:
			return strings.Join(words, ", ")
		case v.Kind() == reflect.Bool:
			return "true or false"
		case v.Kind() == reflect.String && p.flag.Tag.PlaceHolder != "":
			return p.flag.Tag.PlaceHolder
		case v.Kind() == reflect.String:
			return "a text"
		}
	}
	return "a number"
}

// guesses are what somebody may have meant by a text that is no value. Not all of them are.
func (p *param) guesses(text string) []string {
	if p.form() == "a number" {
		return []string{strings.NewReplacer(" ", "", ",", "", "_", "").Replace(text)}
	}
	list := []string{strings.TrimSpace(text), strings.ToLower(text), sizeOf(text), durationOf(text)}
	if count, per, ok := strings.Cut(text, "/"); ok {
		per = strings.TrimSpace(per)
		if per != "" && (per[0] < '0' || per[0] > '9') {
			per = "1" + per
		}
		list = append(list, strings.TrimSpace(count)+"/"+durationOf(per))
	} else {
		list = append(list, text+"/10s")
	}
	switch strings.ToLower(text) {
	case "y", "t", "enable", "enabled", "ture":
		list = append(list, "true")
	case "n", "f", "disable", "disabled", "flase":
		list = append(list, "false")
	}
	return append(list, nearest.Word(text, p.words()))
}

var quantity = regexp.MustCompile(`^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$`)

// sizeOf is a size that is written in another way: 1MB, 64k, 1.5 GiB.
func sizeOf(text string) string {
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	shift := 0
	switch unit := strings.ToUpper(m[2]); strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I") {
	case "":
	case "K":
		shift = 10
	case "M":
		shift = 20
	case "G":
		shift = 30
	case "T":
		shift = 40
	default:
		return ""
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n > 1<<40 {
		return ""
	}
	return sizeText(byteSize(n * float64(int64(1)<<shift)))
}

// durationOf is a duration that is written in another way: 10, 10 s, 5min, 1d.
func durationOf(text string) string {
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	unit := strings.ToLower(m[2])
	for _, known := range []struct {
		names string
		unit  string
	}{
		{" s sec secs second seconds ", "s"}, {" m min mins minute minutes ", "m"}, {" h hr hrs hour hours ", "h"},
		{" ms msec msecs millisecond milliseconds ", "ms"},
	} {
		if unit == "" || strings.Contains(known.names, " "+unit+" ") {
			return m[1] + known.unit
		}
	}
	if unit == "d" || unit == "day" || unit == "days" {
		if days, err := strconv.Atoi(m[1]); err == nil && days < 10_000 {
			return strconv.Itoa(24*days) + "h"
		}
	}
	return ""
}
