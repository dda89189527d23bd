internal import Bytes
internal import Kernels
package import TensorModel

/// The codec of pleat files: each weight has its codes, scales, biases and so on in separate parts.
package struct PleatFileCodec: WeightCodec {
  /// Creates the codec.
  package init() {}

  package func admission(of encoding: Encoding) -> Admission {
    if case .scaled(let codes) = encoding, codes.isInBlocks {
      return .refused("pleat stores codes and scales apart")
    }
    guard case .grouped(let grouping) = encoding else { return .exact }
    guard !grouping.isScattered else {
      return .refused("pleat supports only groups of neighbouring columns, found \(grouping)")
    }
    guard !grouping.hasFractionalZeroPoints else {
      return .refused("pleat stores whole zero points, found \(grouping)")
    }
    return Grouping.supportedBits.contains(grouping.bits)
      ? .exact : .refused("pleat stores codes of 2, 3, 4, 5, 6 or 8 bits")
  }

  package func parts(of info: TensorInfo) -> [StoredTensor] {
    let grouping: Grouping
    switch info.encoding {
    case .grouped(let found): grouping = found
    case .scaled(let codes):
      return codes.parts(of: info.shape).map {
        StoredTensor(
          name: info.name, role: $0.role, shape: info.shape, encoding: info.encoding, rows: $0.rows)
      }
    case .plain, .foreign: return plainParts(of: info)
    }
    let columns = info.shape.columnCount
    let parameters = columns / grouping.groupSize * (grouping.parameters.bitWidth / 8)
    func part(_ role: PartRole, _ rowByteCount: Int) -> StoredTensor {
      StoredTensor(
        name: info.name, role: role, shape: info.shape, encoding: info.encoding,
        rowByteCount: rowByteCount)
    }
    let codes = part(.codes, BitPacking(bits: grouping.bits).byteCount(columns: columns))
    let scales = part(.scales, parameters)
    switch grouping.offset {
    case .none: return [codes, scales]
    case .bias: return [codes, scales, part(.biases, parameters)]
    case .zeroPoint: return [codes, scales, part(.zeros, columns / grouping.groupSize)]
    }
  }

  package func check(_ rows: GroupedRows, firstRow: Int) throws(ModelError) {
    guard let index = rows.zeros.firstIndex(where: { !(0...255).contains($0) }) else { return }
    throw ModelError(
      .unsupported, "a zero point cannot be stored", expected: "0 to 255",
      found: "\(Int(rows.zeros[index])) in row \(firstRow + index / rows.groupCount), "
        + "group \(index % rows.groupCount)")
  }

  // The header lists the parts of a weight together, in the order of `parts(of:)`.
  package func gather(_ stored: StoredContents) throws(ModelError) -> [GatheredTensor] {
    var gathered: [GatheredTensor] = []
    for (index, part) in stored.tensors.enumerated() {
      if let last = gathered.last, last.info.name.hasSameBytes(as: part.name) {
        gathered[gathered.count - 1].parts.append(index)
      } else {
        gathered.append(GatheredTensor(plain: part, at: index))
      }
    }
    return gathered
  }

  package func write(_ rows: GroupedRows, into parts: inout [[UInt8]], firstRow: Int) {
    let packing = BitPacking(bits: rows.grouping.bits)
    let rowByteCount = packing.byteCount(columns: rows.columnCount)
    let codes = rows.codes
    parts[0].change(firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount) {
      packing.pack(codes.span, rows: rows.rowCount, into: &$0)
    }
    write(rows.scales, of: rows, to: &parts[1], firstRow)
    switch rows.grouping.offset {
    case .none: break
    case .bias: write(rows.biases, of: rows, to: &parts[2], firstRow)
    case .zeroPoint:
      let first = firstRow * rows.groupCount
      for (index, zero) in rows.zeros.enumerated() { parts[2][first + index] = UInt8(zero) }
    }
  }

  package func biasField(of grouping: Grouping) -> ParameterField? {
    guard grouping.offset == .bias else { return nil }
    return ParameterField(part: 2, stride: grouping.parameters.bitWidth / 8)
  }

  package func read(_ parts: [[UInt8]], firstRow: Int, into rows: GroupedRows) {
    let packing = BitPacking(bits: rows.grouping.bits)
    let rowByteCount = packing.byteCount(columns: rows.columnCount)
    let source = parts[0][firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount]
    unpack(source, packing, rows: rows.rowCount, into: &rows.codes)
    read(parts[1], of: rows, into: &rows.scales, firstRow)
    switch rows.grouping.offset {
    case .none: break
    case .bias: read(parts[2], of: rows, into: &rows.biases, firstRow)
    case .zeroPoint:
      let first = firstRow * rows.groupCount
      for index in rows.zeros.indices { rows.zeros[index] = Float(parts[2][first + index]) }
    }
  }

  func write(
    _ values: [Float], of rows: GroupedRows, to part: inout [UInt8], _ firstRow: Int
  ) {
    let format = FloatFormat(rows.grouping.parameters)
    let rowByteCount = rows.groupCount * format.byteCount
    part.change(firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount) {
      format.encode(values.span, into: &$0)
    }
  }

  func read(
    _ part: [UInt8], of rows: GroupedRows, into values: inout [Float], _ firstRow: Int
  ) {
    let format = FloatFormat(rows.grouping.parameters)
    let rowByteCount = rows.groupCount * format.byteCount
    let source = part[firstRow * rowByteCount..<(firstRow + rows.rowCount) * rowByteCount]
    var target = values.mutableSpan
    format.decode(source.span, into: &target)
  }

  func unpack(
    _ source: ArraySlice<UInt8>, _ packing: BitPacking, rows: Int, into codes: inout [UInt8]
  ) {
    var target = codes.mutableSpan
    packing.unpack(source.span, rows: rows, into: &target)
  }
}
