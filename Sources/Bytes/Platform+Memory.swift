internal import CFiles
internal import SystemPackage

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

extension Platform {
  /// The number of bytes of memory that the process may take.
  ///
  /// It is the memory of the machine, or the limit of the control group, as in a container.
  package static let memoryByteCount: Int = {
    let machine = Int(sysconf(Int32(_SC_PHYS_PAGES))) * Int(sysconf(Int32(_SC_PAGESIZE)))
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
    return limits.compactMap { number(in: FilePath($0)) }.reduce(machine, min)
  }()

  /// Gives memory that was freed back to the system, which may count it as that of the process.
  ///
  /// It takes about as long as freeing it. Does nothing where the C library has no such call.
  package static func returnFreedMemory() { pleat_return_freed_memory() }

  /// The number that a file of the system contains; nil if it has another text, or is not there.
  private static func number(in path: FilePath) -> Int? {
    guard let file = try? FileDescriptor.open(path, .readOnly) else { return nil }
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = try? file.closeAfter {
      try unsafe bytes.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
    }
    let digits = bytes.prefix(count ?? 0).prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }
    return Int(String(decoding: digits, as: UTF8.self))
  }
}
