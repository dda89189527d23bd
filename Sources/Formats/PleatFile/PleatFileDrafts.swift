internal import Bytes
internal import Kernels
internal import TensorModel

/// The members of a part, before they are checked.
struct PartDraft {
  var name = ""
  var count = 0
  private var offset: Int?
  private var byteCount: Int?
  private var blockByteCount: Int?
  private var planeCount = 1
  private var table: [Int]?
  private var checksum: CRC32C?

  mutating func member(_ key: String, _ scanner: inout JSONScanner) throws(ModelError) {
    switch key {
    case "name": name = try scanner.string()
    case "count": count = try scanner.count()
    case "offset": offset = try scanner.count()
    case "length": byteCount = try scanner.count()
    case "block": blockByteCount = try scanner.count()
    case "planes": planeCount = try scanner.count()
    case "frames": table = try scanner.counts()
    case "crc32c": checksum = CRC32C(text: try scanner.string())
    default: try scanner.skip()
    }
  }

  func part(
    of name: String, _ file: String, _ limits: ReadLimits
  ) throws(ModelError) -> PleatFileHeader.Part {
    guard let byteCount, let checksum, offset != nil || table != nil else {
      throw ModelError(
        .malformed, "the part '\(name)' is incomplete", file: file,
        expected: "length, crc32c, and offset or frames")
    }
    var part = PleatFileHeader.Part(offset: offset ?? 0, byteCount: byteCount, checksum: checksum)
    guard let table else { return part }
    let block = blockByteCount ?? 0
    // A block that is larger than its part, too, is malformed: its length is not in the file.
    guard block <= limits.blockByteCount || block > byteCount else {
      throw ModelError(
        .limit, "the blocks of the part '\(name)' are too large", file: file,
        expected: "at most \(limits.blockByteCount) bytes", found: "\(block)")
    }
    let isSane =
      (1...2).contains(planeCount) && (1...limits.blockByteCount).contains(block)
      && block % planeCount == 0
      && byteCount % planeCount == 0 && table.count % (1 + planeCount) == 0
    let blockCount = isSane && byteCount > 0 ? (byteCount - 1) / block + 1 : 0
    guard isSane, table.count / (1 + planeCount) == blockCount else {
      throw ModelError(
        .malformed, "the frames of the part '\(name)' do not make up its length", file: file,
        expected: "\(byteCount) bytes in blocks of \(block)",
        found: "\(table.count) numbers for \(planeCount) planes")
    }
    // Copied to drop the spare capacity of the array: there are many of these numbers.
    part.frames = PleatFileHeader.Frames(
      blockByteCount: block, planeCount: planeCount, table: table.map { $0 })
    return part
  }
}

/// The members of an encoding, before they are checked.
struct EncodingDraft {
  private var type: String?
  private var ggml: String?
  private var bits = 0
  private var groupSize = 0
  private var offset = ""
  private var parameters = ""
  private var scaled = ScaledDraft()

  mutating func member(_ key: String, _ scanner: inout JSONScanner) throws(ModelError) {
    switch key {
    case "type": type = try scanner.string()
    case "ggml": ggml = try scanner.string()
    case "bits": bits = try scanner.count()
    case "groupSize": groupSize = try scanner.count()
    case "offset": offset = try scanner.string()
    case "parameters": parameters = try scanner.string()
    default: try scaled.member(key, &scanner)
    }
  }

  func encoding(_ shape: Shape, _ limits: ReadLimits) throws(ModelError) -> Encoding {
    if scaled.isPresent {
      // A longer row is an error in any case; here it would overflow.
      guard shape.columnCount <= limits.columnCount else {
        throw ModelError(
          .limit, "a row is too long", expected: "at most \(limits.columnCount) columns",
          found: "\(shape.columnCount)")
      }
      return .scaled(try scaled.codes(shape))
    }
    if let type {
      guard let known = ScalarType(rawValue: type) else {
        throw ModelError(.malformed, "unknown type", found: type)
      }
      return .plain(known)
    }
    if let ggml {
      guard let known = GGMLType.named(ggml), case .foreign(let layout) = known.encoding,
        shape.columnCount % layout.elementCount == 0
      else { throw ModelError(.malformed, "unknown or unsuitable block type", found: ggml) }
      return .foreign(layout)
    }
    guard Grouping.supportedBits.contains(bits), groupSize > 0,
      shape.columnCount % groupSize == 0, shape.columnCount > 0,
      let offset = Grouping.Offset(rawValue: offset),
      let parameters = ScalarType(rawValue: parameters),
      Grouping.supportedParameters.contains(parameters)
    else {
      throw ModelError(
        .malformed, "the encoding is invalid",
        expected: "a type, or bits, groupSize and offset, or codes and scales",
        found: "\(bits) bits, groups of \(groupSize)")
    }
    return .grouped(
      Grouping(bits: bits, groupSize: groupSize, offset: offset, parameters: parameters))
  }
}

/// The members of an encoding of codes with scales, before they are checked.
private struct ScaledDraft {
  private var codes: String?
  private var table: String?
  private var scales = ""
  private var tileRows: Int?
  private var tileColumns: Int?
  private var nestedBlock: Int?
  private var nestedOffset = 0.0
  private var factor = ScaledCodes.Factor.none.rawValue
  private var decoded = ""

  /// Whether the encoding has this form.
  var isPresent: Bool { codes != nil || table != nil }

  mutating func member(_ key: String, _ scanner: inout JSONScanner) throws(ModelError) {
    switch key {
    case "codes": codes = try scanner.string()
    case "table": table = try scanner.string()
    case "scales": scales = try scanner.string()
    case "tileRows": tileRows = try scanner.count()
    case "tileColumns": tileColumns = try scanner.count()
    case "nestedBlock": nestedBlock = try scanner.count()
    case "nestedOffset":
      guard let number = try JSONParser.parse(try scanner.rawValue(), file: "the header").double
      else { throw ModelError(.malformed, "the encoding is invalid", expected: "a number") }
      nestedOffset = number
    case "factor": factor = try scanner.string()
    case "decoded": decoded = try scanner.string()
    default: try scanner.skip()
    }
  }

  /// The description.
  ///
  /// Throws `malformed` unless it fits the shape.
  func codes(_ shape: Shape) throws(ModelError) -> ScaledCodes {
    let type = codes.map { ScalarType(rawValue: $0) } ?? .u8
    guard let type, let scales = ScalarType(rawValue: scales),
      let decoded = ScalarType(rawValue: decoded), Grouping.supportedParameters.contains(decoded),
      let factor = ScaledCodes.Factor(rawValue: factor), codes == nil || table == nil,
      table.map(Self.isName) ?? true,
      case let found = ScaledCodes(
        codes: type, table: table, scales: scales,
        nesting: nestedBlock.map { .init(blockSize: $0, offset: Float(nestedOffset)) },
        tileRows: tileRows, tileColumns: tileColumns, factor: factor, decoded: decoded),
      found.fits(shape)
    else {
      throw ModelError(
        .malformed, "the encoding is invalid",
        expected: "codes and scales of known types, in tiles that fit \(shape)",
        found: "\(table ?? codes ?? ""), \(self.scales) scales of "
          + "\(tileRows.map(String.init) ?? "all rows") × "
          + "\(tileColumns.map(String.init) ?? "all columns")")
    }
    return found
  }

  /// Whether a text can name a table.
  private static func isName(_ text: String) -> Bool {
    (1...16).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        let letter = byte | 0x20
        return (0x61...0x7A).contains(letter) || (0x30...0x39).contains(byte) || byte == 0x5F
      }
  }
}
