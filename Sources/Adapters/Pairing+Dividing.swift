internal import Architectures
internal import TensorModel

/// Divides changes of fused matrices and of stacks among layers that the base model stores apart.
extension Pairing {
  /// The changes of the layers that a fused matrix or a stack consists of; empty if it is neither.
  func divide(
    _ candidate: AdapterChange.Candidate, _ adapter: Adapter, _ use: Use
  ) throws(ModelError) -> [PairedChange] {
    guard case .lowRank(let product) = candidate.operation else { return [] }
    for names in layers(of: candidate.target, expertCount: product.expertCount) {
      let found = names.compactMap { name -> BaseTensor? in
        if case .one(let index, _) = match(name) { base[index] } else { nil }
      }
      guard found.count == names.count else { continue }
      return try divide(candidate, among: found, adapter, use)
    }
    return []
  }

  /// The names of the layers that a fused matrix or a stack consists of, in several forms.
  private func layers(of target: String, expertCount: Int) -> [[String]] {
    let isStack = expertCount > 1 || !target.hasSuffix(".weight")
    let own = names.layers(of: target, expertCount: isStack ? expertCount : nil)
    guard let (path, rest) = FusedLayers.split(target) else { return [own] }
    let layers =
      isStack
      ? FusedLayers.stacks.filter { $0.fused == rest }
      : FusedLayers.matrices.filter { "\($0.fused).weight" == rest }
    let others = layers.map { _, parts in
      (0..<expertCount).flatMap { expert in
        parts.map { path + $0.split(separator: "*").joined(separator: "\(expert)") + ".weight" }
      }
    }
    return own == [target] ? others : others + [own]
  }

  private func divide(
    _ candidate: AdapterChange.Candidate, among tensors: [BaseTensor], _ adapter: Adapter,
    _ use: Use
  ) throws(ModelError) -> [PairedChange] {
    guard case .lowRank(let product) = candidate.operation else { return [] }
    let experts = product.expertCount
    // Only names of stacks lack the ending.
    let isStack = experts > 1 || !candidate.target.hasSuffix(".weight")
    let rows = tensors.reduce(0) { $0 + $1.info.shape.rowCount }
    let columns = tensors[0].info.shape.columnCount
    let whole = TensorInfo(
      name: candidate.target,
      shape: isStack
        ? Shape(experts, rows / experts, columns) : Shape(rows, columns),
      encoding: tensors[0].info.encoding)
    guard tensors.allSatisfy({ $0.info.shape.columnCount == columns }), rows % experts == 0,
      product.magnitude == nil,
      case .lowRank(let fitted, let groupSize) = try operation(
        candidate.operation, on: whole, adapter, use)
    else {
      throw ModelError(
        .unsupported, "the base model stores the parts of the layer one by one",
        tensor: candidate.target, expected: "a low-rank change without DoRA",
        hint: "fold into a base model that stores the layer as the adapter names it")
    }
    var first = 0
    return tensors.map { tensor in
      let count = tensor.info.shape.rowCount
      let (expert, row) = (first * experts / rows, first % (rows / experts))
      first += count
      var part = fitted
      part.expertCount = 1
      part.left.offset += expert * part.left.expertStride + row * part.left.vectorStride
      part.right.offset += expert * part.right.expertStride
      (part.left.vectorCount, part.left.expertStride, part.right.expertStride) = (count, 0, 0)
      return PairedChange(
        adapter: use.index, tensor: tensor.index,
        operation: .lowRank(part, groupSize: groupSize),
        window: tensor.isPart ? tensor.firstRow..<tensor.firstRow + count : nil)
    }
  }
}
