//go:build !linux

package exec

// systemMemory is the memory of the machine; 0, since it is not known.
func systemMemory() int { return 0 }
