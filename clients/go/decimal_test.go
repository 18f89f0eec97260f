package tickbridge

import "testing"

func TestTextsOfTheSameNumberAreEqual(t *testing.T) {
	for _, pair := range [][2]string{
		{"65080", "65080.00"}, {"65080", "065080"}, {"0.5", ".5"}, {"5", "5."}, {"1e3", "1000"},
		{"1.5E-7", "0.00000015"}, {"+1", "1"}, {"0", "-0.00"}, {"0e5", "0"}, {"100", "1E+2"},
	} {
		if order, err := CompareDecimals(pair[0], pair[1]); err != nil || order != 0 {
			t.Errorf("%v: %d %v", pair, order, err)
		}
	}
}

func TestNumbersAreComparedExactly(t *testing.T) {
	ascending := []string{
		"-1e999999999999", "-12345678901234567890.000000000000000002", "-12345678901234567890.000000000000000001",
		"-10", "-9.5", "-1e-9", "0", "0.0000000000000000000000000001", "0.1", "0.10000000000000000001", "0.9", "1", "9.99",
		"10", "10.01", "9007199254740992.9", "9007199254740993", "9007199254740993.0000000000000000001", "1e999999999999",
	}
	for place, a := range ascending {
		for other, b := range ascending {
			order, err := CompareDecimals(a, b)
			if err != nil || (order < 0) != (place < other) || (order == 0) != (place == other) {
				t.Errorf("%s %s: %d %v", a, b, order, err)
			}
		}
	}
}

func TestWhatIsNoNumberIsRefused(t *testing.T) {
	for _, text := range []string{
		"", ".", "-", "e5", "1e", "1,5", "0x10", "NaN", "Infinity", " 1", "1 ", "1_000", "1e1.5", "--1", "1e--1", "1e9999999999999999", "١",
	} {
		if _, err := CompareDecimals("1", text); err == nil {
			t.Errorf("%q is taken for a number", text)
		}
	}
}
