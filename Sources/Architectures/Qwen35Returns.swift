internal import Bytes
internal import TensorModel

/// How the linear attention of Qwen becomes that of a checkpoint again.
extension Architecture {
  static func linearReturn(
    _ name: String, of part: String, _ others: String...,
    view: @escaping @Sendable ([TensorView], LinearAttentionSizes) -> TensorView?
  ) -> TensorReturn {
    TensorReturn("linear_attn.\(name)", of: [part] + others) { parts, values throws(ModelError) in
      view(parts, try LinearAttentionSizes(values))
    }
  }

  static let separateReturns: [TensorReturn] = [
    linearReturn("in_proj_qkv.weight", of: "attn_qkv.weight") { parts, sizes in
      parts[0].reordered(checkpointChannels(sizes))
    },
    linearReturn("in_proj_z.weight", of: "attn_gate.weight") { parts, sizes in
      parts[0].reordered([checkpointHeads(sizes, rowCount: sizes.headSize)])
    },
    linearReturn("in_proj_a.weight", of: "ssm_alpha.weight") { parts, sizes in
      parts[0].reordered([checkpointHeads(sizes, rowCount: 1)])
    },
    linearReturn("in_proj_b.weight", of: "ssm_beta.weight") { parts, sizes in
      parts[0].reordered([checkpointHeads(sizes, rowCount: 1)])
    },
    linearReturn("conv1d.weight", of: "ssm_conv1d.weight") { parts, sizes in
      unsqueezed(parts[0], sizes, checkpointChannels(sizes))
    },
    linearReturn("A_log", of: "ssm_a") { parts, sizes in
      logarithm(parts[0], checkpointHeads(sizes, rowCount: 1))
    },
    linearReturn("dt_bias", of: "ssm_dt.bias") { parts, sizes in
      parts[0].reorderedNumbers(checkpointHeads(sizes, rowCount: 1))
    },
    linearReturn("out_proj.weight", of: "ssm_out.weight") { parts, sizes in
      guard parts[0].shape.rank == 2, parts[0].shape.columnCount == sizes.valueRowCount else {
        return nil
      }
      var view = parts[0].reordered([RowSelection(count: parts[0].shape.rowCount)])
      if sizes.valuesPerKey > 1 {
        view?.columns = .init(runLength: sizes.headSize, runs: checkpointHeads(sizes, rowCount: 1))
      }
      return view
    },
  ]

  /// The heads of values of each head of keys together, from the order of llama.cpp.
  private static func checkpointHeads(
    from first: Int = 0, _ sizes: LinearAttentionSizes, rowCount: Int
  ) -> RowSelection {
    RowSelection(
      from: first,
      [
        (sizes.keyHeadCount, rowCount), (sizes.valuesPerKey, sizes.keyHeadCount * rowCount),
        (rowCount, 1),
      ])
  }

  /// Queries and keys, then values in the order of a checkpoint.
  private static func checkpointChannels(_ sizes: LinearAttentionSizes) -> [RowSelection] {
    let keyCount = 2 * sizes.keyRowCount
    return [
      RowSelection(count: keyCount),
      checkpointHeads(from: keyCount, sizes, rowCount: sizes.headSize),
    ]
  }

  /// A convolution of channels × 1 × positions, from a matrix.
  static func unsqueezed(
    _ matrix: TensorView, _ sizes: LinearAttentionSizes, _ rows: [RowSelection]
  ) -> TensorView? {
    guard matrix.shape.dimensions == [sizes.channelCount, sizes.kernelSize] else { return nil }
    return matrix.reshaped([sizes.channelCount, 1, sizes.kernelSize])?.reordered(rows)
  }

  /// The logarithms of the negatives of the factors by which states decay.
  static func logarithm(_ factors: TensorView, _ rows: RowSelection) -> TensorView? {
    var view = factors.reorderedNumbers(rows)
    view?.function = .logarithmOfNegative
    return view
  }
}
