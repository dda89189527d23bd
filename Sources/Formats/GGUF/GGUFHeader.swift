internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The header of a GGUF file: metadata and tensor descriptions.
///
/// The layout is in `formats/gguf.md`.
struct GGUFHeader {
  /// A tensor and the offset of its first byte in the file.
  struct Entry {
    var tensor: StoredTensor
    var type: GGMLType
    var offset: Int
  }

  static let magic = Array("GGUF".utf8)
  static let defaultAlignment = 32

  let isBigEndian: Bool
  let version: UInt32
  let metadata: Metadata
  let entries: [Entry]
  /// The offset of the first byte after the tensor descriptions and their padding.
  let dataStart: Int

  /// Reads and checks a header.
  ///
  /// Throws `malformed`, `unsupported`, `limit` and `io`.
  init(_ file: InputFile, limits: ReadLimits) throws(ModelError) {
    let path = file.path.string
    var reader = ByteReader(file)
    guard try reader.bytes(4, of: "the magic number") == Self.magic else {
      throw ModelError(.malformed, "not a GGUF file", file: path, expected: "the letters GGUF")
    }
    var version = try reader.integer(UInt32.self, of: "the version")
    // Versions are small. So the low half of one that is read in the wrong byte order is zero.
    isBigEndian = version != 0 && version & 0xFFFF == 0
    if isBigEndian { version = version.byteSwapped }
    guard (1...3).contains(version) else {
      throw ModelError(
        version > 3 ? .unsupported : .malformed, "unknown version of GGUF", file: path, offset: 4,
        expected: "1, 2 or 3", found: "\(version)")
    }
    self.version = version
    reader.isBigEndian = isBigEndian
    var source = RecordReader(reader: reader, version: version, limits: limits)
    // A tensor description takes at least 24 bytes, or 20 in version 1; a record at least 9.
    let tensorCount = try source.length(of: "tensors", elementSize: 20)
    let entryCount = try source.length(of: "metadata entries", elementSize: 9)
    guard tensorCount <= limits.tensorCount else {
      throw ModelError(
        .limit, "too many tensors", file: path, expected: "at most \(limits.tensorCount)",
        found: "\(tensorCount)")
    }
    metadata = try GGUFMetadata.read(
      &source.reader, count: entryCount, version: version, limits: limits)
    let alignment = try Self.alignment(metadata, path)
    entries = try Self.entries(&source, count: tensorCount, alignment: alignment, file)
    dataStart = source.reader.offset.aligned(to: alignment)
  }

  /// The alignment of tensor data that the metadata states, or the default.
  ///
  /// Throws `malformed` unless it is a power of two.
  static func alignment(_ metadata: Metadata, _ path: String?) throws(ModelError) -> Int {
    guard let value = metadata["general.alignment"] else { return defaultAlignment }
    guard case .unsigned(let number, .u32) = value, number > 0, number & (number - 1) == 0 else {
      throw ModelError(
        .malformed, "the alignment is invalid", file: path, tensor: "general.alignment",
        expected: "a power of two as u32", found: value.integer.map(String.init) ?? "\(value.type)")
    }
    return Int(number)
  }

  private static func entries(
    _ source: inout RecordReader, count: Int, alignment: Int, _ file: InputFile
  ) throws(ModelError) -> [Entry] {
    var entries: [Entry] = []
    var offsets: [UInt64] = []
    var seen: Set<ExactName> = []
    for _ in 0..<count {
      let name = try source.name(of: "a tensor name")
      guard !name.isEmpty else {
        throw ModelError(
          .malformed, "a tensor has no name", file: file.path.string, offset: source.reader.offset)
      }
      guard seen.insert(ExactName(name)).inserted else {
        throw ModelError(
          .malformed, "the file has the tensor twice", file: file.path.string, tensor: name)
      }
      do throws(ModelError) {
        let (tensor, type) = try description(&source, name)
        entries.append(Entry(tensor: tensor, type: type, offset: 0))
        offsets.append(try source.reader.integer(UInt64.self, of: "a tensor offset"))
      } catch {
        throw error.located(file: file.path.string, tensor: name)
      }
    }
    try setOffsets(&entries, offsets, start: source.reader.offset, alignment, file)
    return entries
  }

  private static func description(
    _ source: inout RecordReader, _ name: String
  ) throws(ModelError) -> (StoredTensor, GGMLType) {
    let start = source.reader.offset
    let rank = try source.reader.integer(UInt32.self, of: "a tensor's number of dimensions")
    guard rank <= 4 else {
      throw ModelError(
        .malformed, "too many dimensions", offset: start, expected: "at most 4", found: "\(rank)")
    }
    var extents: [UInt64] = []
    for _ in 0..<rank {
      extents.append(
        source.version == 1
          ? UInt64(try source.reader.integer(UInt32.self, of: "an extent"))
          : try source.reader.integer(UInt64.self, of: "an extent"))
    }
    // GGUF lists the fastest dimension first; shapes are row-major.
    let dimensions = extents.reversed().map { Int(exactly: $0) ?? -1 }
    guard let shape = Shape(validating: dimensions) else {
      throw ModelError(.malformed, "the shape overflows", offset: start, found: "\(extents)")
    }
    let typeStart = source.reader.offset
    let id = try source.reader.integer(UInt32.self, of: "a tensor type")
    guard let type = GGMLType.with(id: id) else {
      throw ModelError(
        .unsupported, "unknown or removed tensor type", offset: typeStart, found: "type \(id)",
        hint: "a newer version of Pleat may know it")
    }
    guard shape.columnCount % type.elementCount == 0 else {
      throw ModelError(
        .malformed, "a row is not a whole number of blocks", offset: start,
        expected: "a multiple of \(type.elementCount) for \(type.name)",
        found: "\(shape.columnCount)")
    }
    let tensor = StoredTensor(
      name: name, role: type.elementCount == 1 ? .values : .blocks, shape: shape,
      encoding: type.encoding,
      rowByteCount: shape.columnCount / type.elementCount * type.byteCount,
      byteCount: shape.elementCount / type.elementCount * type.byteCount)
    return (tensor, type)
  }

  /// Sets the offsets of the tensors in the file.
  ///
  /// Each tensor must begin where the previous one ends, rounded up to the alignment.
  private static func setOffsets(
    _ entries: inout [Entry], _ offsets: [UInt64], start: Int, _ alignment: Int, _ file: InputFile
  ) throws(ModelError) {
    let dataStart = start.aligned(to: alignment)
    var end = 0
    for index in entries.indices {
      let tensor = entries[index].tensor
      guard offsets[index] == UInt64(end) else {
        throw ModelError(
          .malformed, "the tensor does not follow the one before", file: file.path.string,
          tensor: tensor.name, expected: "offset \(end)", found: "\(offsets[index])")
      }
      let available = file.byteCount - dataStart - end
      guard tensor.byteCount <= available else {
        throw ModelError(
          .malformed, "the file is truncated in a tensor", file: file.path.string,
          tensor: tensor.name, expected: "\(tensor.byteCount) bytes", found: "\(max(0, available))",
          hint: "perhaps an incomplete download")
      }
      entries[index].offset = dataStart + end
      end = (end + tensor.byteCount).aligned(to: alignment)
    }
  }
}

extension Int {
  /// The number rounded up to a multiple of a positive `alignment`.
  ///
  /// It does not overflow for offsets in files.
  package func aligned(to alignment: Int) -> Int {
    let remainder = self % alignment
    return remainder == 0 ? self : self + (alignment - remainder)
  }
}
