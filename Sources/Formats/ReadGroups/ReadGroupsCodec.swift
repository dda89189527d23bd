internal import Kernels
package import TensorModel

/// The codec of checkpoints whose groups Pleat reads, and writes only in layouts of other tools.
///
/// The parts of a grouped weight are codes of one byte each, scales, and zero points: of the type of
/// the scales if they are fractions, otherwise of one byte.
package struct ReadGroupsCodec: WeightCodec {
  /// The tools that write such checkpoints.
  package enum Tool: Sendable {
    /// HQQ: tensors beside the codes describe each weight.
    case hqq
    /// torchao: the metadata of the files describes each weight.
    case torchAO(Metadata)
  }

  private let tool: Tool
  private let plain = PlainCodec()

  /// Creates the codec of a tool, by the `quant_method` of its config; nil for other tools.
  package init?(method: String, _ metadata: Metadata) {
    switch method.lowercased() {
    case "hqq": tool = .hqq
    case "torchao": tool = .torchAO(metadata)
    default: return nil
    }
  }

  package func admission(of encoding: Encoding) -> Admission { plain.admission(of: encoding) }

  package func parts(of info: TensorInfo) -> [StoredTensor] { plain.parts(of: info) }

  package func gather(_ contents: StoredContents) throws(ModelError) -> [GatheredTensor] {
    switch tool {
    case .hqq: try HQQWeights(contents).gathered()
    case .torchAO(let metadata): try TorchAOWeights(contents, metadata).gathered()
    }
  }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    preconditionFailure("not admitted")
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let first = firstRow * rows.columnCount
    rows.codes = Array(parts[0][first..<first + rows.rowCount * rows.columnCount])
    rows.scales = Self.numbers(parts[1], of: rows, firstRow)
    guard rows.grouping.offset == .zeroPoint else { return }
    if rows.grouping.hasFractionalZeroPoints {
      rows.zeros = Self.numbers(parts[2], of: rows, firstRow)
    } else {
      let first = firstRow * rows.groupCount
      rows.zeros = parts[2][first..<first + rows.rowCount * rows.groupCount].map(Float.init)
    }
  }

  /// The parameters of some rows, as rows × groups.
  private static func numbers(
    _ part: [UInt8], of rows: GroupedRows, _ firstRow: Int
  ) -> [Float] {
    let format = FloatFormat(rows.grouping.parameters)
    let rowByteCount = rows.groupCount * format.byteCount
    let bytes = part[firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount]
    var numbers = [Float](repeating: 0, count: rows.rowCount * rows.groupCount)
    var target = numbers.mutableSpan
    format.decode(bytes.span, into: &target)
    return numbers
  }
}
