package tickbridge

import (
	"fmt"
	"strconv"
	"strings"
)

// decimal is a number in the form 0.<digits> × 10^exponent, with neither leading nor trailing zeros in digits.
// Texts of the same number (65080, 65080.00, 6.508e4) have the same form. Zero has no digits.
type decimal struct {
	sign     int
	exponent int64
	digits   string
}

const longestExponent = 15

// parseDecimal returns the number that the text is, or an error if it is not a finite decimal number.
func parseDecimal(text string) (decimal, error) {
	rest := text
	sign := 1
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	}
	var exponent int64
	if place := strings.IndexAny(rest, "eE"); place >= 0 {
		written := rest[place+1:]
		bare := strings.TrimLeft(written, "+-")
		number, err := strconv.ParseInt(written, 10, 64)
		if err != nil || len(bare) > longestExponent {
			return decimal{}, notANumber(text)
		}
		exponent = number
		rest = rest[:place]
	}
	whole, fraction, _ := strings.Cut(rest, ".")
	if (whole == "" && fraction == "") || !onlyDigits(whole) || !onlyDigits(fraction) {
		return decimal{}, notANumber(text)
	}
	all := whole + fraction
	digits := strings.TrimLeft(all, "0")
	if digits == "" {
		return decimal{}, nil
	}
	leading := len(all) - len(digits)
	exponent += int64(len(whole) - leading)
	return decimal{sign, exponent, strings.TrimRight(digits, "0")}, nil
}

// compare is negative if a is less than b, positive if it is greater, and zero if they are the same number.
func (a decimal) compare(b decimal) int {
	switch {
	case a.sign != b.sign:
		return a.sign - b.sign
	case a.exponent < b.exponent:
		return -a.sign
	case a.exponent > b.exponent:
		return a.sign
	}
	// Digits without trailing zeros compare like words: "12" < "123" < "13".
	return a.sign * strings.Compare(a.digits, b.digits)
}

// CompareDecimals compares two decimal texts as numbers: below zero, zero or above zero.
func CompareDecimals(a, b string) (int, error) {
	one, err := parseDecimal(a)
	if err != nil {
		return 0, err
	}
	other, err := parseDecimal(b)
	if err != nil {
		return 0, err
	}
	return one.compare(other), nil
}

func onlyDigits(text string) bool {
	for place := 0; place < len(text); place++ {
		if text[place] < '0' || text[place] > '9' {
			return false
		}
	}
	return true
}

func notANumber(text string) error {
	return fmt.Errorf("%s is not a decimal number", quoted(text))
}

// quoted is a value from outside in a message: not all of it, and on one line.
func quoted(text string) string {
	const most = 60
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strconv.Quote(text)
}
