internal import Bytes
internal import SystemPackage
internal import TensorModel

/// The header of a safetensors file: a JSON object of names, types, shapes and offsets.
///
/// The layout is in `formats/safetensors.md`.
struct SafetensorsHeader {
  /// A tensor and the offset of its first byte in the file.
  struct Entry {
    var tensor: StoredTensor
    var name: ExactName
    var offset: Int
  }

  /// The tensors, by offset.
  var entries: [Entry] = []
  /// The pairs of strings under `__metadata__`.
  var metadata = Metadata()

  /// Reads and checks the header.
  ///
  /// Tensors must have known types and the right lengths, and must cover the data exactly, without
  /// gaps and overlaps. Throws `malformed`, `unsupported`, `limit` and `io`.
  init(_ file: InputFile, limits: ReadLimits) throws(ModelError) {
    try self.init(ByteReader(file), limits: limits)
  }

  /// The same for a file that a reader reads from its first byte on.
  init(_ file: ByteReader, limits: ReadLimits) throws(ModelError) {
    let (path, byteCount) = (file.path, file.remaining)
    var reader = file
    let length = try reader.integer(UInt64.self, of: "the header length")
    guard length <= UInt64(limits.headerByteCount) else {
      throw ModelError(
        length > UInt64(reader.remaining) ? .malformed : .limit, "the header length is too large",
        file: path,
        expected: "at most \(limits.headerByteCount)", found: "\(length)",
        hint: "perhaps not a safetensors file")
    }
    let count = Int(length)
    guard count <= reader.remaining else {
      throw ModelError(
        .malformed, "the file is truncated in the header", file: path, offset: 8,
        expected: "\(count) bytes", found: "\(reader.remaining)",
        hint: "perhaps an incomplete download")
    }
    let text = try reader.bytes(count, of: "the header")
    var scanner = try JSONScanner(text, file: path, offset: 8, limits: limits)
    var drafts: [Draft] = []
    var seen: Set<ExactName> = []
    try scanner.object { (scanner, name) throws(ModelError) in
      let key = ExactName(name)
      guard seen.insert(key).inserted else {
        throw ModelError(.malformed, "the header has the name twice", file: path, tensor: name)
      }
      if name == "__metadata__" {
        try readMetadata(&scanner, path)
      } else {
        drafts.append(try Draft(key, &scanner, path))
      }
      guard drafts.count <= limits.tensorCount else {
        throw ModelError(
          .limit, "too many tensors", file: path, expected: "at most \(limits.tensorCount)")
      }
    }
    try scanner.end()
    try addEntries(drafts, dataStart: 8 + count, byteCount, path)
  }

  private mutating func readMetadata(
    _ scanner: inout JSONScanner, _ path: String
  ) throws(ModelError) {
    // MLX writes null if there is no metadata.
    guard !scanner.null() else { return }
    var found: [Metadata.Entry] = []
    var seen: Set<ExactName> = []
    do throws(ModelError) {
      try scanner.object { (scanner, key) throws(ModelError) in
        guard seen.insert(ExactName(key)).inserted else {
          throw ModelError(.malformed, "the key '\(key)' occurs twice", file: path)
        }
        found.append(.init(key: key, value: .text(try scanner.string())))
      }
    } catch {
      throw error.located(tensor: "__metadata__")
    }
    for entry in found { metadata.append(entry.key, entry.value) }
  }

  /// Orders the tensors by offset, and checks that they cover the data exactly.
  private mutating func addEntries(
    _ drafts: [Draft], dataStart: Int, _ byteCount: Int, _ path: String
  ) throws(ModelError) {
    var end = 0
    var forms: [StoredTensor] = []
    entries.reserveCapacity(drafts.count)
    for draft in drafts.sorted(by: { ($0.begin, $0.end) < ($1.begin, $1.end) }) {
      guard draft.begin == end, draft.end >= draft.begin else {
        let problem =
          draft.end < draft.begin
          ? "the tensor ends before it begins"
          : draft.begin > end ? "there is a gap before the tensor" : "the tensor overlaps another"
        throw ModelError(
          .malformed, problem, file: path, tensor: draft.name,
          expected: "bytes from \(end)", found: "\(draft.begin)…\(draft.end)")
      }
      let tensor = try draft.tensor(path, &forms)
      guard tensor.byteCount == draft.end - draft.begin else {
        throw ModelError(
          .malformed, "the tensor has the wrong size", file: path, tensor: draft.name,
          expected: "\(tensor.byteCount) bytes for \(tensor.shape) \(draft.type.name)",
          found: "\(draft.end - draft.begin)")
      }
      entries.append(Entry(tensor: tensor, name: draft.key, offset: dataStart + draft.begin))
      end = draft.end
    }
    let available = byteCount - dataStart
    guard end == available else {
      throw ModelError(
        .malformed,
        end > available ? "the file is truncated" : "there are extra bytes after the last tensor",
        file: path, expected: "\(end) bytes of data", found: "\(available)",
        hint: end > available ? "perhaps an incomplete download" : nil)
    }
  }
}

/// An entry of the header as the file states it, before it is checked.
private struct Draft {
  var key: ExactName
  var type: ScalarType
  var extents: [Int]
  var begin: Int
  var end: Int

  var name: String { key.text }

  init(_ key: ExactName, _ scanner: inout JSONScanner, _ path: String) throws(ModelError) {
    var type: ScalarType?
    var extents: [Int]?
    var offsets: [Int]?
    do throws(ModelError) {
      var others: Set<ExactName> = []
      func once(_ key: String, _ isNew: Bool) throws(ModelError) {
        guard isNew else { throw ModelError(.malformed, "the entry has '\(key)' twice") }
      }
      try scanner.object { (scanner, key) throws(ModelError) in
        switch key {
        case "dtype":
          try once(key, type == nil)
          let word = try scanner.string()
          guard let known = ScalarType(rawValue: word) else {
            throw ModelError(
              .unsupported, "unknown dtype '\(word)'",
              expected: ScalarType.allCases.map(\.name).joined(separator: ", "))
          }
          type = known
        case "shape":
          try once(key, extents == nil)
          extents = try scanner.counts()
        case "data_offsets":
          try once(key, offsets == nil)
          offsets = try scanner.counts()
        default:
          try once(key, others.insert(ExactName(key)).inserted)
          try scanner.skip()
        }
      }
      guard let type, let extents, let offsets, offsets.count == 2 else {
        throw ModelError(
          .malformed, "the tensor's entry is incomplete",
          expected: "dtype, shape and two data_offsets",
          found: offsets.map { "\($0.count) data_offsets" } ?? "not all of them")
      }
      (self.key, self.type, self.extents) = (key, type, extents)
      (begin, end) = (offsets[0], offsets[1])
    } catch {
      throw error.located(file: path, tensor: key.text)
    }
  }

  /// The tensor; it shares the memory of an equal one of `forms`, to which it is added.
  func tensor(_ path: String, _ forms: inout [StoredTensor]) throws(ModelError) -> StoredTensor {
    let known = forms.first { $0.shape.dimensions == extents && $0.encoding == .plain(type) }
    if var tensor = known {
      tensor.name = name
      return tensor
    }
    guard let shape = Shape(validating: extents) else {
      throw ModelError(
        .malformed, "the shape overflows", file: path, tensor: name, found: "\(extents)")
    }
    guard let tensor = StoredTensor(plain: name, shape, type) else {
      throw ModelError(
        .malformed, "the tensor does not fill whole bytes", file: path, tensor: name,
        expected: "a multiple of 8 bits", found: "\(shape.elementCount) of \(type.bitWidth) bits")
    }
    forms = [tensor] + forms.prefix(7)
    return tensor
  }
}
