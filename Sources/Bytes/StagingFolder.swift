internal import Synchronization
internal import SystemPackage
internal import TensorModel

#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// The folder in which files wait for their final names, which one process owns at a time.
///
/// It is called `.name.partial`, beside the result `name`. Its owner holds a lock on it, which the
/// system releases when the process ends in whatever way: a folder that nobody has locked is what a
/// killed run has left. Dropped, it is removed with all that is in it, unless it is to stay.
final class StagingFolder: Sendable {
  /// Where it is.
  let path: FilePath
  private let descriptor: Int32
  private let stays = Atomic(false)

  // Paths are handed to the system as strings that end with a zero, which it reads, and structures
  // of its own, which it fills, during the call only.

  /// Tries to own a folder that other runs come and go with, before giving up.
  private static let attemptCount = 100

  /// Makes the folder for a result, or takes over what a killed run has left.
  ///
  /// Throws `usage` while another process writes the same result; `io`.
  init(for destination: FilePath) throws(ModelError) {
    path = destination.sibling(".\(destination.lastComponent?.string ?? "output").partial")
    for _ in 0..<Self.attemptCount {
      let isNew = unsafe path.withPlatformString({ unsafe mkdir($0, 0o755) }) == 0
      guard isNew || errno == EEXIST else { throw .system("make the folder", path.string) }
      if let descriptor = try Self.lock(path, destination) {
        self.descriptor = descriptor
        return
      }
    }
    throw Self.conflict(destination)
  }

  deinit {
    if !stays.load(ordering: .relaxed) { FileSystem.removeFolder(path) }
    close(descriptor)
  }

  /// Leaves what is there to a later run, or to the name that it has got.
  func stay() { stays.store(true, ordering: .relaxed) }

  /// The descriptor of a folder that is owned now; nil when it went away in the meantime.
  private static func lock(
    _ path: FilePath, _ destination: FilePath
  ) throws(ModelError) -> Int32? {
    let descriptor = unsafe path.withPlatformString {
      unsafe open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }
    guard descriptor >= 0 else {
      if errno == ENOENT { return nil }
      throw .system("open the folder", path.string)
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK else {
      close(descriptor)
      throw conflict(destination)
    }
    // Whoever had it may have renamed or removed it between the two calls.
    var (here, there) = (stat(), stat())
    guard unsafe fstat(descriptor, &here) == 0,
      unsafe path.withPlatformString({ unsafe stat($0, &there) }) == 0,
      here.st_ino == there.st_ino, here.st_dev == there.st_dev
    else {
      close(descriptor)
      return nil
    }
    return descriptor
  }

  private static func conflict(_ destination: FilePath) -> ModelError {
    ModelError(
      .usage, "another run is writing this output", file: destination.string,
      hint: "wait for it, or write to another path")
  }
}
