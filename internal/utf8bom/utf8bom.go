// Package utf8bom reads what editors of Windows write: text files that begin with a byte order mark.
package utf8bom

const mark = "\ufeff"

// Trim returns a text without the mark at its beginning. It shares the memory of the text.
func Trim[T string | []byte](text T) T {
	if len(text) >= len(mark) && string(text[:len(mark)]) == mark {
		return text[len(mark):]
	}
	return text
}
