"""The training loop: batches in, a checkpoint that is the best by the scenes out.

The learning rate follows the budget, be it steps, minutes or the recipe's epochs, so that a run fits the time at hand.
The state is saved often enough that a kill costs a minute, and a run given the same folder goes on from it: with a
budget in steps, to the same weights, bit for bit.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dpdeblur.errors import UsageError, WeightsError
from dpdeblur.networks import NETWORKS
from dpdeblur.networks.network import Network
from dpdeblur.training.data import SceneOptions
from dpdeblur.training.journal import Journal
from dpdeblur.training.options import SIMULATED_EPOCH, TrainOptions, resolve_recipe
from dpdeblur.training.processes import Processes, join_processes
from dpdeblur.training.recipe import Progress
from dpdeblur.training.scenes import load_scenes
from dpdeblur.training.sources import FolderSource, MixedSource, SimulatedSource, Source, find_pairs
from dpdeblur.training.state import Average, Trainee, TrainState, build_optimizer, load_tensors
from dpdeblur.training.step import Stepper, compile_network
from dpdeblur.training.textures import draw_textures, load_textures
from dpdeblur.training.validation import Judge, simulate_scenes, summarise
from dpdeblur.weights import plan_network

_SHOW_EVERY = 20


def train(options: TrainOptions) -> dict[str, float]:
    """Train, and leave `best.pt` (averaged weights), `state.pt`, `log.csv` and `contact.jpg` in `options.out`.

    Returns:
        The best scores on the scenes.

    Raises:
        UsageError: The options do not fit together, or not the state found in the folder, or files that are not this
            loop's lie there under the names of its own.
        ReadError: A texture or pair cannot be read.
        FloatingPointError: The network's results are not finite any more.
    """
    with join_processes(options.device) as processes:
        return Run(options, processes).go()


class Run:
    """A run of the loop in one process."""

    def __init__(self, options: TrainOptions, processes: Processes) -> None:
        """Build everything, and take up the state that lies in the folder."""
        self.options, self.processes = options, processes
        self.recipe = recipe = resolve_recipe(options)
        try:
            plan_network(options.out, recipe.network, recipe.form)
        except WeightsError as error:
            raise UsageError(f"--form {error.cause}", remedy="see the network's arguments") from error
        torch.manual_seed(options.seed)
        torch.backends.cudnn.benchmark = True
        network = self._build_network()
        if options.initial is None:
            recipe.prepare(network)
        else:
            network.load_state_dict(load_tensors(options.initial, processes.device))
        trainee = Trainee(network, recipe.make_objective(network).to(processes.device))
        source, self.judge = self._open_data()
        options.out.mkdir(parents=True, exist_ok=True)  # only now: what cannot be trained leaves no folder
        on_gpu = processes.device.startswith("cuda")
        self.state = TrainState(
            trainee=trainee,
            average=Average(network, recipe.average),
            optimizer=build_optimizer(recipe, trainee, on_gpu=on_gpu),
            scaler=torch.amp.GradScaler(processes.device.split(":")[0], enabled=options.precision == "fp16"),
            source=source,
            processes=processes,
        )
        self.state_path = options.out / "state.pt"
        if self.state_path.exists():
            self.state.load(self.state_path)
        else:
            _refuse_foreign_files(options.out)
        self.minutes_before = self.state.minutes
        if options.compile:
            compile_network(trainee)
        self.evaluated = self._build_network().eval()
        self.started = self.last_scored = self.last_saved = time.monotonic()

    def _build_network(self) -> Network:
        network = NETWORKS[self.recipe.network].build(**self.recipe.form).to(self.processes.device)
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        return network

    def _open_data(self) -> tuple[Source, Judge]:
        """The source of batches and the judge's scenes."""
        options, recipe, processes = self.options, self.recipe, self.processes
        if recipe.batch % processes.count:
            raise UsageError(
                f"a batch of {recipe.batch} cannot be shared by {processes.count} processes", remedy="change --batch"
            )
        count = recipe.batch // processes.count
        scene_options = SceneOptions(
            height=recipe.height,
            width=recipe.width,
            largest_radius_px=options.largest_radius_px,
            measured_share=options.measured_share,
            family_shares=options.family_shares,
        )
        textures, held_out = self._load_textures()
        both = options.textures is not None and options.pairs is not None
        share = 0.5 if options.pairs_share is None and both else options.pairs_share
        from_pairs = count if options.textures is None else 0 if options.pairs is None else round(count * (share or 0))
        sources: list[Source] = []
        if from_pairs < count:
            bank = None
            if options.kernels is not None:
                bank = torch.from_numpy(np.load(options.kernels)).float().to(processes.device)
            simulated = SimulatedSource(
                textures, count - from_pairs, scene_options, bank, seed=options.seed, rank=processes.rank
            )
            sources.append(simulated)
        if from_pairs and options.pairs is not None:
            pairs = FolderSource(
                options.pairs,
                options.out / "pairs",
                from_pairs,
                (recipe.height, recipe.width),
                seed=options.seed,
                rank=processes.rank,
                processes=processes.count,
                device=processes.device,
            )
            sources.append(pairs)
        if options.scenes is None:
            scenes = simulate_scenes(held_out, scene_options, options.seed + 1)
        else:
            scenes = load_scenes(options.scenes, processes.device)
        source = sources[0] if len(sources) == 1 else MixedSource(sources)
        return source, Judge(scenes, mean_views=options.mean_views)

    def _load_textures(self) -> tuple[Tensor, Tensor]:
        """Textures to train on, and others to judge by: every twentieth photograph's tile and other drawings."""
        options = self.options
        tiles = draw_textures(options.procedural, options.seed) if options.procedural else None
        others = draw_textures(8, options.seed + 1)
        if options.textures is not None:
            photographs = load_textures(options.textures)
            if options.scenes is None and len(photographs) > 1:
                kept = np.arange(len(photographs)) % 20 == 1
                others = np.concatenate([photographs[kept], others])
                photographs = photographs[~kept]
            tiles = photographs if tiles is None else np.concatenate([photographs, tiles])
        tiles = others if tiles is None else tiles
        return tuple(  # type: ignore[return-value]  # two of them
            torch.from_numpy(part).permute(0, 3, 1, 2).contiguous().to(self.processes.device)
            for part in (tiles, others)
        )

    def _count_steps(self) -> float:
        """The recipe's length in steps."""
        options = self.options
        samples = SIMULATED_EPOCH if options.pairs is None else len(find_pairs(options.pairs))
        return self.recipe.epochs * samples / self.recipe.batch

    def go(self) -> dict[str, float]:
        """Take steps until the budget, or this process's share of it, is used up."""
        options, state = self.options, self.state
        total, unit = (options.minutes, "min") if options.steps is None and options.minutes else (None, "step")
        if total is None:
            total = options.steps or math.ceil(self._count_steps())
        journal = Journal(
            options.out,
            state.step,
            name=f"{self.recipe.network} by {self.recipe.name}",
            start=self.minutes_before if unit == "min" else state.step,
            total=total,
            unit=unit,
            tensorboard=options.tensorboard,
            silent=not self.processes.is_first,
        )
        stepper = Stepper(
            state,
            self.recipe,
            precision=options.precision,
            mean_views=options.mean_views,
            freeze=options.freeze,
        )
        if state.step == 0 and self.minutes_before == 0:
            # a folder without a state is taken for somebody else's
            state.save(self.state_path, 0.0)
        while True:
            spent, done, is_last, is_due, is_save = self._look_at_clock(total, unit)
            if is_last or is_due:
                self._report(journal, self.minutes_before + spent)
            if is_last or is_save:
                state.save(self.state_path, self.minutes_before + spent)
                self.last_saved = time.monotonic()
            if is_last:
                break
            stepper.take(Progress(state.step, done, self.recipe.epochs))
            if state.step % _SHOW_EVERY == 0:
                self._show(journal, total * done)
        journal.close()
        if self.processes.is_first:
            best = torch.load(options.out / "best.pt", map_location=self.processes.device, weights_only=True)
            self.evaluated.load_state_dict(best)
            self.judge.draw_contact_sheet(self.evaluated, options.out / "contact.jpg")
        return {name: value for name, value in state.best.items() if name != "score"}

    def _look_at_clock(self, total: float, unit: str) -> tuple[float, float, bool, bool, bool]:
        """Minutes spent in this process, share of the budget, and whether to stop, to score and to save: as agreed."""
        options, now = self.options, time.monotonic()
        spent = (now - self.started) / 60
        done = ((self.minutes_before + spent) if unit == "min" else self.state.step) / total
        is_last = done >= 1 or (options.stop_after is not None and spent >= options.stop_after)
        is_due = now - self.last_scored > options.score_every
        is_save = now - self.last_saved > options.save_every
        spent, done, *flags = self.processes.agree([spent, done, is_last, is_due, is_save])
        return spent, done, bool(flags[0]), bool(flags[1]), bool(flags[2])

    def _report(self, journal: Journal, minutes: float) -> None:
        """Score the averaged weights, write a row, and keep the weights where they are the best so far."""
        state = self.state
        self.last_scored = time.monotonic()
        if self.processes.is_first and journal.last_step != state.step:
            self.evaluated.load_state_dict(state.average.state)
            scores = self.judge.score(self.evaluated)
            # before the first step there is no loss: a log's columns stay the same, so it reads "nan"
            means = {name: float(value) / state.counted for name, value in state.sums.items()}
            row = {"step": float(state.step), "minutes": round(minutes, 2)}
            row["rate"] = state.optimizer.param_groups[0]["lr"]
            row |= dict.fromkeys(("loss", "psnr_in", "psnr_out"), math.nan) | means | scores
            score = summarise(scores)
            if math.isnan(score):
                journal.write(row)
                raise FloatingPointError(f"the network's results are not finite after {state.step} steps")
            if score > state.best["score"]:
                state.best = {"score": score} | scores
                torch.save(state.average.state, self.options.out / "best.pt")
            journal.write(row)
        state.sums, state.counted = {}, 0

    def _show(self, journal: Journal, done: float) -> None:
        state = self.state
        counted = max(state.counted, 1)
        loss, psnr = (float(state.sums[name]) / counted if state.counted else math.nan for name in ("loss", "psnr_out"))
        rate = counted / max(time.monotonic() - self.last_scored, 1e-3)
        journal.show(done, state.step, loss=loss, psnr=psnr, rate=rate)


def _refuse_foreign_files(folder: Path) -> None:
    """Stop where a run's files would replace some that no run here has left."""
    for name in ("best.pt", "log.csv", "contact.jpg"):
        if (folder / name).exists():
            raise UsageError(
                f"{folder / name} is there already, without a state.pt to go on from", remedy="choose another folder"
            )
