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

/// The temporary folder of an output, owned by one process at a time.
///
/// It is called `.name.partial` and lies beside the result `name`. The owner holds a lock on it.
/// The system releases the lock when the process ends, even if it is killed. A folder without a
/// lock was therefore left by a killed run. When this object is released, the folder and its files
/// are removed, unless `stay()` was called.
final class StagingFolder: Sendable {
  /// The path of the folder.
  let path: FilePath
  private let descriptor: Int32
  private let stays = Atomic(false)

  // Safety, for all system calls below: the system reads zero-terminated paths and fills its own
  // structures during the call only.

  /// The number of attempts to own the folder while other runs create and remove it.
  private static let attemptCount = 100

  /// Creates the folder for a result, or takes over the one that a killed run left.
  ///
  /// Throws `usage` if another process writes the same result; `io`.
  convenience init(for destination: FilePath) throws(ModelError) {
    try self.init(
      for: destination,
      at: destination.sibling(".\(destination.lastComponent?.string ?? "output").partial"))
  }

  /// Creates the folder for a result at another path, or takes over the one that is there.
  ///
  /// Throws `usage` if another process writes the same result; `io`.
  init(for destination: FilePath, at path: FilePath) throws(ModelError) {
    self.path = path
    for _ in 0..<Self.attemptCount {
      let isNew = unsafe path.withPlatformString({ unsafe mkdir($0, 0o755) }) == 0
      guard isNew || errno == EEXIST else { throw .system("create the folder", path.string) }
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

  /// Keeps the folder on release: for a later run, or because it has been renamed or removed.
  func stay() { stays.store(true, ordering: .relaxed) }

  /// Locks the folder and returns its descriptor; nil if the folder has been removed or renamed.
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
    guard FileSystem.lock(descriptor) else {
      close(descriptor)
      throw conflict(destination)
    }
    // The previous owner may have renamed or removed the folder between `open` and `flock`.
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
