import Bytes
import Formats
import Kernels
import Pleat
import Quantization
import TensorModel
import TestSupport

extension Model {
  /// The stored bytes of each part of a tensor, in the order of the codec.
  func partBytes(of tensor: Int) throws(ModelError) -> [[UInt8]] {
    var parts: [[UInt8]] = []
    for index in gathered[tensor].parts {
      parts.append(try storedBytes(index, 0..<reader.stored[index].byteCount))
    }
    return parts
  }

  /// The bytes of each part of a tensor, as codecs get them.
  private func readParts(of tensor: Int) throws(ModelError) -> [[UInt8]] {
    guard !gathered[tensor].forms.isEmpty else { return try partBytes(of: tensor) }
    var parts: [[UInt8]] = []
    for (part, layout) in gathered[tensor].layouts.enumerated() {
      var bytes = [UInt8](repeating: 0xaa, count: layout.byteCount)
      try bytes.change(bytes.indices) { (span) throws(ModelError) in
        try readPart(tensor, part, at: 0, into: &span)
      }
      parts.append(bytes)
    }
    return parts
  }

  /// Some bytes of a stored tensor.
  func storedBytes(_ index: Int, _ range: Range<Int>) throws(ModelError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xaa, count: range.count)
    try bytes.change(0..<range.count) { (span) throws(ModelError) in
      try reader.read(index, at: range.lowerBound, into: &span)
    }
    return bytes
  }

  /// The decoded values of a tensor; nil if Pleat does not decode the encoding.
  func floats(of tensor: Int) throws(ModelError) -> [Float]? {
    let info = catalog.tensors[tensor]
    let parts = try readParts(of: tensor)
    var values = [Float](repeating: .nan, count: info.shape.elementCount)
    if case .grouped(let grouping) = info.encoding {
      let rows = GroupedRows(
        grouping: grouping, columnCount: info.shape.columnCount, rowCount: info.shape.rowCount)
      format.codec.read(parts, firstRow: 0, into: rows)
      rows.decode(into: &values)
      return values
    }
    if case .scaled(let codes) = info.encoding {
      ScaledRows(
        codes, columnCount: info.shape.columnCount, layouts: codes.parts(of: info.shape).map(\.rows)
      )?
      .decode(parts, rows: 0..<info.shape.rowCount, into: &values)
      return values
    }
    guard let decoder = RowDecoder(info.encoding) else { return nil }
    decoder.decode(parts[0][...], into: &values)
    return values
  }

  /// Reads every byte of every tensor, to find traps in readers.
  func readEverything() throws(ModelError) {
    for index in catalog.tensors.indices { _ = try partBytes(of: index) }
  }
}

/// Conversions and quantizations of files through the public library.
enum Rewriting {
  /// Converts a model to a format without changes, and returns the path of the output.
  @discardableResult
  static func convert(
    _ source: String, to path: String, _ format: Format, shardByteCount: Int? = nil,
    compresses: Bool = false, workerCount: Int = 1
  ) throws(ModelError) -> String {
    let plan = try Plan.converting(
      try Model.open(source),
      to: Destination(
        path: path, format: format, shardByteCount: shardByteCount, compresses: compresses))
    try Run(plan, workerCount: workerCount)()
    return path
  }

  /// Quantizes a model, and returns the path of the output.
  @discardableResult
  static func quantize(
    _ source: String, to path: String, _ recipe: Recipe = Recipe(), format: Format = .pleat,
    compresses: Bool = false, workerCount: Int = 1
  ) throws(ModelError) -> String {
    let plan = try Plan.quantizing(
      try Model.open(source), recipe,
      to: Destination(path: path, format: format, compresses: compresses))
    try Run(plan, workerCount: workerCount)()
    return path
  }
}

extension String {
  /// The UTF-8 code units, to compare texts whose Unicode normalization forms may differ.
  var codeUnits: [UInt8] { Array(utf8) }
}
