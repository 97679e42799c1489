package exec

import "syscall"

// systemMemory is the memory of the machine, swap space included, in bytes; 0 if
// it is not known.
func systemMemory() int {
	var s syscall.Sysinfo_t
	if err := syscall.Sysinfo(&s); err != nil {
		return 0
	}
	return (int(s.Totalram) + int(s.Totalswap)) * int(s.Unit)
}
