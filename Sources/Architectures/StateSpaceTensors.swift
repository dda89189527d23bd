internal import Bytes
internal import TensorModel

/// The tensors of layers with states, as those of Mamba 2.
extension Architecture {
  /// Their names.
  ///
  /// - Parameters:
  ///   - path: What stands before them in a layer.
  ///   - hasNorm: Whether all layers have a norm.
  /// - Returns: The names in a layer.
  static func stateSpaceNames(_ path: String = "mamba", hasNorm: Bool = true) -> LayerNames {
    LayerNames(
      names: [
        ("\(path).in_proj", "ssm_in"), ("\(path).conv1d", "ssm_conv1d"),
        ("\(path).out_proj", "ssm_out"),
      ] + (hasNorm ? [("\(path).norm", "ssm_norm")] : []),
      completeNames: [
        ("\(path).A_log", ["ssm_a"]), ("\(path).D", ["ssm_d"]),
        ("\(path).dt_bias", ["ssm_dt.bias"]),
      ])
  }

  /// How llama.cpp arranges those that it stores in another shape.
  static func stateSpaceArrangements(_ keys: StateSpaceKeys) -> [TensorArrangement] {
    func arrangement(
      _ stem: String, for runtime: Runtime = .llamaCpp,
      _ view: @escaping @Sendable (TensorInfo, StateSpaceSizes, String) -> TensorView?
    ) -> TensorArrangement {
      let name = "\(keys.path).\(stem)"
      return TensorArrangement(name: name, runtimes: [runtime]) {
        tensor, values throws(ModelError) in
        let sizes = try StateSpaceSizes(values, keys)
        return view(tensor, sizes, name).map { [$0] }
      }
    }
    return [
      arrangement("conv1d.weight") { tensor, sizes, name in
        squeezed(
          tensor, channelCount: sizes.channelCount, kernelSize: sizes.kernelSize, named: name)
      },
      // mlx-lm stores channels × width × 1.
      arrangement("conv1d.weight", for: .transformers) { tensor, sizes, name in
        let view = TensorView(name: name, shape: tensor.shape, source: 0)
        guard MLXNames.isMovedConvolution(tensor) else { return view }
        return view.reshaped([sizes.channelCount, 1, sizes.kernelSize], dividesRows: true)
      },
      arrangement("A_log") { tensor, sizes, name in
        var view = divided(tensor, [sizes.headCount, 1], named: name)
        view?.function = .negatedExponential
        return view
      },
      arrangement("D") { tensor, sizes, name in
        divided(tensor, [sizes.headCount, 1], named: name)
      },
      arrangement("norm.weight") { tensor, sizes, name in
        divided(tensor, [sizes.groupCount, sizes.innerSize / sizes.groupCount], named: name)
      },
    ]
  }

  /// How they become those of a checkpoint again.
  static func stateSpaceReturns(_ keys: StateSpaceKeys) -> [TensorReturn] {
    func tensor(
      _ stem: String, _ part: String,
      _ view: @escaping @Sendable (TensorView, StateSpaceSizes) -> TensorView?
    ) -> TensorReturn {
      TensorReturn("\(keys.path).\(stem)", of: [part]) { parts, values throws(ModelError) in
        view(parts[0], try StateSpaceSizes(values, keys))
      }
    }
    return [
      tensor("conv1d.weight", "ssm_conv1d.weight") { matrix, sizes in
        matrix.reshaped([sizes.channelCount, 1, sizes.kernelSize])
      },
      tensor("A_log", "ssm_a") { factors, sizes in
        var view = factors.reshaped([sizes.headCount], dividesRows: true)
        view?.function = .logarithmOfNegative
        return view
      },
      tensor("D", "ssm_d") { numbers, sizes in
        numbers.reshaped([sizes.headCount], dividesRows: true)
      },
      tensor("norm.weight", "ssm_norm.weight") { groups, sizes in
        groups.reshaped([sizes.innerSize], dividesRows: true)
      },
    ]
  }

  /// A vector as a matrix; nil for another shape.
  private static func divided(
    _ tensor: TensorInfo, _ extents: [Int], named name: String
  ) -> TensorView? {
    guard let shape = Shape(validating: extents), tensor.shape.dimensions == [shape.elementCount]
    else { return nil }
    var view = TensorView(name: name, shape: shape, source: 0)
    view.rows = [RowSelection(count: shape.elementCount)]
    view.dividesRows = true
    return view
  }

  /// The bias that the convolution always has in llama.cpp.
  static let stateSpaceBiases: Set<String> = ["ssm_conv1d"]

  /// What llama.cpp computes of the values of a config.
  ///
  /// - Parameters:
  ///   - kernel: The key for the width of the convolution.
  ///   - convolutionBias: The key that says whether the convolution has a bias.
  ///   - others: The keys for biases that llama.cpp lacks.
  /// - Returns: The limits of these keys, and of time steps.
  static func stateSpaceLimits(
    kernel: String, convolutionBias: String, others: [String]
  ) -> [ConfigLimit] {
    others.map { ConfigLimit($0, only: [false]) } + [
      ConfigLimit(convolutionBias, only: [true]),
      ConfigLimit(kernel, expected: "more than 1") { $0[kernel] == 1 ? "1" : nil },
      unlimitedSteps,
    ]
  }

  /// Time steps of any length, which is how transformers writes infinity.
  private static let unlimitedSteps = ConfigLimit(
    "time_step_limit", expected: "0 and infinity"
  ) { config in
    guard let stated = config["time_step_limit"], stated != .null else { return nil }
    let limits = stated.array ?? []
    let isUnlimited =
      limits.count == 2 && limits[0].double == 0
      && (limits[1]["__float__"] == "Infinity" || limits[1].double == .infinity)
    return isUnlimited ? nil : JSONWriter.text(stated)
  }
}
