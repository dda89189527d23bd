internal import Bytes
internal import Formats
internal import SystemPackage
internal import TensorModel
internal import Weights

extension TensorSink {
  /// Compares sealed files with the blocks that they were written from.
  ///
  /// `writing` writes the same blocks again, to a sink that compares them. Throws `io` if the files
  /// differ, and what `writing` throws.
  func readBack(
    _ layout: any OutputLayout, _ writing: (any BlockSink) throws(ModelError) -> Void
  ) throws(ModelError) {
    let check = try ReadBack(layout, sealedPath)
    try writing(check)
    try check.finish()
  }
}

/// A sink that reads the written files again and compares every block with them.
final class ReadBack: BlockSink {
  private let written: Model
  private let planned: StoredTensors
  private let indices: [Int]  // of the same stored tensors in `written`
  private let companionNames: [String]
  private let companionIndices: [String: Int]  // in `written`
  private let holdsCompanions: Bool
  private let folder: FilePath?  // of the companion files; nil if they are inside the model file

  /// Opens the files at a path, and compares their headers with those of a layout.
  ///
  /// Throws `io` if the headers differ or a stored tensor is missing.
  init(_ layout: any OutputLayout, _ path: FilePath) throws(ModelError) {
    let folder = layout.folder == nil ? path.parentFolder : path
    written = try Self.trusting(path.string) { () throws(ModelError) in
      // The comparison must read the disk, not the copy that the system keeps in memory.
      for name in layout.fileNames { try InputFile(folder.appending(name)).forgetCached() }
      for header in layout.fileHeaders {
        try Self.compare(header.text, folder.appending(header.name))
      }
      return try Model.open(path.string)
    }
    written.reader.startChecking()
    planned = layout.contents.stored
    companionNames = layout.contents.companions.map(\.name)
    companionIndices = Dictionary(
      written.catalog.companions.enumerated().map { ($0.element.name, $0.offset) },
      uniquingKeysWith: { first, _ in first })
    holdsCompanions = layout.holdsCompanions
    self.folder = layout.folder == nil ? nil : folder
    // Parts with the same name follow one another in the codec's order.
    var found: [ExactName: [Int]] = [:]
    for (index, tensor) in written.reader.stored.enumerated() {
      found[ExactName(tensor.name), default: []].append(index)
    }
    var taken: [ExactName: Int] = [:]
    var indices: [Int] = []
    for tensor in planned {
      let key = ExactName(tensor.name)
      let number = taken[key, default: 0]
      guard let candidates = found[key], number < candidates.count else {
        throw Self.fault("the written output lacks a tensor", written.path, tensor.name)
      }
      taken[key] = number + 1
      indices.append(candidates[number])
    }
    self.indices = indices
  }

  func write(_ block: [PartBlock], ticket: Int) throws(ModelError) {
    for part in block {
      switch part.content {
      case .bytes(let bytes):
        let stripes = part.stripes ?? .init(count: 1, distance: 0)
        let count = bytes.count / max(1, stripes.count)
        for stripe in 0..<stripes.count {
          try compare(
            bytes[stripe * count..<(stripe + 1) * count], part.stored,
            part.offset + stripe * stripes.distance)
        }
      case .range(let file, let range):
        for start in stride(from: range.lowerBound, to: range.upperBound, by: 1 << 20) {
          let count = min(1 << 20, range.upperBound - start)
          try compare(
            try file.bytes(at: start, count: count)[...], part.stored,
            part.offset + start - range.lowerBound)
        }
      }
    }
  }

  func writeCompanion(_ index: Int, at offset: Int, _ bytes: [UInt8]) throws(ModelError) {
    guard holdsCompanions else { return }
    let name = companionNames[index]
    let found = try Self.trusting(written.path, name) { () throws(ModelError) -> [UInt8] in
      if let folder {
        return try InputFile(folder.appending(name)).bytes(at: offset, count: bytes.count)
      }
      guard let index = companionIndices[name] else { return [] }
      var found = [UInt8](repeating: 0, count: bytes.count)
      try found.change(0..<bytes.count) { (span) throws(ModelError) in
        try written.reader.readCompanion(index, at: offset, into: &span)
      }
      return found
    }
    guard found == bytes else {
      throw Self.difference(written.path, name)
    }
  }

  private func compare(
    _ bytes: ArraySlice<UInt8>, _ stored: Int, _ offset: Int
  ) throws(ModelError) {
    var found = [UInt8](repeating: 0, count: bytes.count)
    let name = planned[stored].name
    try Self.trusting(written.path, name) { () throws(ModelError) in
      try found.change(0..<bytes.count) { (span) throws(ModelError) in
        try written.reader.read(indices[stored], at: offset, into: &span)
      }
    }
    guard found[...] == bytes else {
      throw Self.difference(written.path, name)
    }
  }

  /// Compares the checksums in the file with what was read.
  ///
  /// Must be called after all blocks were compared. Throws `io` if a checksum does not match.
  func finish() throws(ModelError) {
    try Self.trusting(written.path) { () throws(ModelError) in try written.reader.checkRead() }
  }

  /// Throws `io` if a file does not begin with a text.
  private static func compare(_ text: any HeaderText, _ path: FilePath) throws(ModelError) {
    let file = try InputFile(path)
    var offset = 0
    try text.write { (bytes) throws(ModelError) in
      guard file.byteCount >= offset + bytes.count,
        try file.bytes(at: offset, count: bytes.count) == bytes
      else { throw difference(path.string, nil) }
      offset += bytes.count
    }
  }

  /// The result of reading the written files, with every error turned into `io`.
  ///
  /// Pleat has just written the files. If they are invalid, the disk or the memory is faulty.
  private static func trusting<Result>(
    _ path: String, _ tensor: String? = nil, _ reading: () throws(ModelError) -> Result
  ) throws(ModelError) -> Result {
    do throws(ModelError) {
      return try reading()
    } catch  where error.kind != .io {
      throw fault("the written output cannot be read back: \(error.what)", path, tensor)
    }
  }

  private static func difference(_ path: String, _ tensor: String?) -> ModelError {
    fault("the output that was read back differs from what was written", path, tensor)
  }

  private static func fault(_ what: String, _ path: String, _ tensor: String?) -> ModelError {
    ModelError(
      .io, what, file: path, tensor: tensor,
      hint: "the disk or the memory of this machine may be faulty")
  }
}
