internal import Bytes
package import Formats
internal import Kernels
internal import SystemPackage
internal import TensorModel
package import TestSupport
internal import Weights

/// What holds of every container: the plan of a file has its exact length; what was written in any
/// order of pieces is read again, with metadata in the same order; the same contents give the same
/// bytes; and a file that was not published does not exist.
package enum ContainerLaw {
  /// Checks the law for contents of a format.
  ///
  /// - Parameters:
  ///   - format: The format; its container writes and reads.
  ///   - contents: The stored tensors and metadata.
  ///   - bytes: The bytes of each stored tensor.
  ///   - name: A file name that the format has.
  ///   - scratch: An empty folder.
  /// - Throws: What does not hold.
  package static func check(
    _ format: Format, _ contents: Contents, _ bytes: [[UInt8]], as name: String,
    in scratch: Scratch
  ) throws(LawViolation) {
    let first = try write(format, contents, bytes, as: "1-" + name, pieces: 1, in: scratch)
    let second = try write(format, contents, bytes, as: "2-" + name, pieces: 3, in: scratch)
    try require(first == second, "\(format.name): the bytes depend on the pieces they come in")
    try checkUnpublished(format, contents, as: "3-" + name, in: scratch)
    let reader = try unfailing("opening \(name)") {
      try format.container.open(
        ModelFiles(FilePath(scratch.path("1-" + name))), limits: ReadLimits())
    }
    try require(
      reader.stored.count == contents.stored.count,
      "\(format.name): \(reader.stored.count) stored tensors are read")
    // A container may add keys of its own, but keeps those that it was given, in order.
    let keys = contents.metadata.entries
    let found = reader.metadata.entries.filter { entry in
      keys.contains { $0.key == entry.key }
    }
    try require(found == keys, "\(format.name): the metadata is \(found), not \(keys)")
    for (stored, expected) in zip(contents.stored, bytes) {
      // A container may store tensors in an order of its own.
      guard let index = reader.stored.firstIndex(where: { $0.name == stored.name }),
        reader.stored[index].shape == stored.shape,
        reader.stored[index].byteCount == stored.byteCount
      else { throw LawViolation("\(format.name): \(stored.name) is missing, or has another shape") }
      let found = try unfailing("reading \(stored.name)") {
        try reader.contents.bytes(of: index, 0..<expected.count)
      }
      try require(found == expected, "\(stored.name) has other bytes")
    }
  }

  private static func layout(
    _ format: Format, _ contents: Contents, as name: String, in scratch: Scratch
  ) throws(LawViolation) -> any OutputLayout {
    try unfailing("the layout of \(name)") {
      try format.container.layout(contents, WriteOptions(path: FilePath(scratch.path(name))))
    }
  }

  private static func write(
    _ format: Format, _ contents: Contents, _ bytes: [[UInt8]], as name: String, pieces: Int,
    in scratch: Scratch
  ) throws(LawViolation) -> [UInt8] {
    let layout = try layout(format, contents, as: name, in: scratch)
    return try unfailing("writing \(name)") {
      let sink = try layout.open(replacing: false, resumption: nil)
      var ticket = 0
      for (index, bytes) in bytes.enumerated() {
        let length = max(1, (bytes.count + pieces - 1) / pieces)
        for range in Every.pieces(of: bytes.count, length) {
          let block = PartBlock(
            stored: index, offset: range.lowerBound, bytes: Array(bytes[range]))
          try sink.write([block], ticket: ticket)
          ticket += 1
        }
      }
      let size = try sink.seal(sources: [])
      try sink.publish()
      let written = try scratch.bytes(of: name)
      guard size.byteCount == written.count, !layout.isExact || layout.byteCount == written.count
      else {
        throw LawViolation(
          "\(layout.byteCount) bytes were planned, \(size.byteCount) counted, "
            + "\(written.count) written")
      }
      return written
    }
  }

  private static func checkUnpublished(
    _ format: Format, _ contents: Contents, as name: String, in scratch: Scratch
  ) throws(LawViolation) {
    let layout = try layout(format, contents, as: name, in: scratch)
    let before = try unfailing("listing") { try scratch.names() }
    try unfailing("opening a sink") { _ = try layout.open(replacing: false, resumption: nil) }
    let after = try unfailing("listing") { try scratch.names() }
    try require(before == after, "\(format.name): a sink that was dropped left a file")
  }
}
